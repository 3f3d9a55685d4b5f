package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// No print and no log shows a key, and New leaves none in the collector.
func TestKeysAreHidden(t *testing.T) {
	s := logged(t, allSuites[0])()
	key := s.client.b
	shown := dump(s)
	r, w := mustNew(t, s, allSuites[0], true)
	shown += dump(r) + dump(w)
	hex := fmt.Sprintf("%x", key[:32])
	dec := strings.Trim(fmt.Sprintf("%d", key[:4]), "[]")
	if strings.Contains(shown, hex) || strings.Contains(strings.ToUpper(shown), strings.ToUpper(hex)) ||
		strings.Contains(shown, dec) || bytes.Contains([]byte(shown), key[:8]) {
		t.Fatalf("a key is shown: %s", shown)
	}
	if *s != (Secrets{done: true}) {
		t.Fatal("secrets are still in the collector")
	}
	_, _ = fmt.Fprintf(s, "%s %064x %064x\n", labelClient, 1, 2)
	if s.client.n != 0 {
		t.Fatal("collector takes secrets after the handshake")
	}
	r.Wipe()
	w.Wipe()
	if r.secret != (secret{}) || w.secret != (secret{}) || r.aead != nil || w.aead != nil || w.iv != [nonceSize]byte{} {
		t.Fatal("Wipe leaves keys")
	}
	if _, _, err := open(r, []byte{typeText}); err == nil {
		t.Fatal("a wiped Reader opens")
	}
}

// The lines of the key log are zeroed: those taken, those that are wrong, and
// those after the handshake.
func TestLinesAreZeroed(t *testing.T) {
	s := &Secrets{}
	take := func(line string) {
		t.Helper()
		b := []byte(line)
		if n, err := s.Write(b); n != len(line) || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
		if !bytes.Equal(b, make([]byte, len(line))) {
			t.Fatalf("line is still there: %q", b)
		}
	}
	for _, label := range []string{labelClient, labelServer, "EXPORTER_SECRET"} {
		take(fmt.Sprintf("%s %064x %064x\n", label, 1, 2))
	}
	if s.client.n != 32 || s.client != s.server || s.client.b[31] != 2 {
		t.Fatal("secrets are not taken")
	}
	take("nonsense with " + strings.Repeat("ab", 32))
	s.Wipe()
	take(fmt.Sprintf("%s %064x %064x\n", labelClient, 1, 2))
}

// Where keys are derived, the secret that they come from goes: the collector's
// in New, also if it fails, and the last one in a key update.
func TestSecretsGo(t *testing.T) {
	for _, id := range []uint16{allSuites[0], allSuites[1], 0} {
		s := logged(t, allSuites[0])()
		first := s.server
		r, _, err := New(s, finished(id), true)
		if (err == nil) != (id == allSuites[0]) || *s != (Secrets{done: true}) {
			t.Fatalf("suite %#04x: %v, or secrets are left", id, err)
		}
		if err != nil {
			continue
		}
		if r.secret != first {
			t.Fatal("another secret")
		}
		if err := r.update(); err != nil || r.secret == first || r.secret.n != first.n {
			t.Fatalf("key update: %v, or the last secret is left", err)
		}
	}
}

func dump(v any) string {
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v)
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		b.WriteString(err.Error())
	}
	return b.String()
}
