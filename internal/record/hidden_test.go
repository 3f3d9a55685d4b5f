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
