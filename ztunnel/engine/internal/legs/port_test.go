package legs

import "testing"

func TestPort(t *testing.T) {
	for range 100_000 {
		if p := Port(0); p < 16384 || p >= 32768 && p < 61000 {
			t.Fatalf("port %d", p)
		}
		if p := Port(Tries - 1); p < 1024 {
			t.Fatalf("port %d", p)
		}
	}
}
