package cni

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ambitmesh/ambit/internal/cni"
)

var ours = cni.Config{Type: cni.Type, Dir: "/var/run/ambit/cni"}

const lab = `{"cniVersion": "1.0.0", "name": "lab", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
]}
`

func types(t *testing.T, text []byte) string {
	t.Helper()
	var l struct {
		Plugins []struct{ Type string }
	}
	if err := json.Unmarshal(text, &l); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var out []string
	for _, p := range l.Plugins {
		out = append(out, p.Type)
	}
	return strings.Join(out, " ")
}

func TestInsertAndRemove(t *testing.T) {
	with, err := insert([]byte(lab), ours)
	if err != nil {
		t.Fatal(err)
	}
	if got := types(t, with); got != "ptp portmap ambit-cni" {
		t.Errorf("chain %s", got)
	}
	again, err := insert(with, ours)
	if err != nil || !bytes.Equal(again, with) {
		t.Errorf("twice: %s, %v", again, err)
	}
	other := ours
	other.Dir = "/run/other"
	moved, err := insert(with, other)
	if err != nil || types(t, moved) != "ptp portmap ambit-cni" || !bytes.Contains(moved, []byte("/run/other")) || bytes.Contains(moved, []byte("/var/run")) {
		t.Errorf("another configuration: %s, %v", moved, err)
	}
	back, err := remove(with)
	if err != nil || string(back) != lab {
		t.Errorf("taken out: %s, %v", back, err)
	}
	back, err = remove([]byte(lab))
	if err != nil || string(back) != lab {
		t.Errorf("nothing to take out: %s, %v", back, err)
	}
}

// TestOursMovesToTheEnd: the primary rewrote the chain around us.
func TestOursMovesToTheEnd(t *testing.T) {
	for _, text := range []string{
		`{"name":"x","plugins":[{"type":"ambit-cni"},{"type":"ptp"}]}`,
		`{"name":"x","plugins":[{"type":"ptp"},{"type":"ambit-cni","dir":"/var/run/ambit/cni"},{"type":"portmap"}]}`,
		`{"name":"x","plugins":[{"type":"ambit-cni"},{"type":"ptp"},{"type":"ambit-cni"}]}`,
	} {
		got, err := insert([]byte(text), ours)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if s := types(t, got); !strings.HasSuffix(s, " ambit-cni") || strings.Count(s, "ambit") != 1 {
			t.Errorf("%s: %s", text, s)
		}
	}
}

func TestChainsThatAreNone(t *testing.T) {
	for _, text := range []string{"", "null", "[]", "{}", `{"plugins":[]}`, `{"plugins":{}}`, `{"plugins":[{"type":"ambit-cni"}]}`, lab + lab, lab[:len(lab)/2], `{"type":"ptp"}`} {
		if got, err := insert([]byte(text), ours); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestWrap(t *testing.T) {
	got, err := wrap([]byte(`{"cniVersion": "0.3.1", "name": "old", "type": "bridge", "bridge": "cni0"}`), ours)
	if err != nil {
		t.Fatal(err)
	}
	var l map[string]any
	if err := json.Unmarshal(got, &l); err != nil || l["name"] != "old" || l["cniVersion"] != "0.3.1" || types(t, got) != "bridge ambit-cni" {
		t.Errorf("%s: %v", got, err)
	}
	for _, text := range []string{"", "[]", "{}", `{"type":"ambit-cni"}`, `{"type":7}`} {
		if got, err := wrap([]byte(text), ours); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// FuzzChain: whatever can be chained is valid afterwards, ends with us once, and comes back byte for byte.
func FuzzChain(f *testing.F) {
	f.Add([]byte(lab))
	f.Add([]byte(`{"name":"x","plugins":[{"type":"ambit-cni"},{"type":"ptp"}]}`))
	f.Add([]byte(`{"plugins":[1,2],"plugins":[{"type":"a"}],"x":{"plugins":[]}}`))
	f.Add([]byte(`{"type":"bridge","name":"old"}`))
	f.Add([]byte("{\"plugins\":[ \"\\u2028\" , {} ]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := wrap(text, ours); err == nil && !json.Valid(got) {
			t.Errorf("wrapped: %q", got)
		}
		with, err := insert(text, ours)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			return // the decoder is laxer about what follows a value
		}
		if !json.Valid(with) {
			t.Fatalf("inserted: %q", with)
		}
		if again, err := insert(with, ours); err != nil || !bytes.Equal(again, with) {
			t.Fatalf("twice: %q, %v", again, err)
		}
		back, err := remove(with)
		if err != nil {
			t.Fatalf("taken out of %q: %v", with, err)
		}
		if c, err := parseChain(text); err == nil && c.ours < 0 && !bytes.Equal(back, text) {
			t.Fatalf("%q came back as %q", text, back)
		}
	})
}
