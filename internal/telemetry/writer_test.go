package telemetry

import (
	"sync/atomic"
	"testing"
	"time"
)

// counter counts writes.
type counter struct{ writes, bytes atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.writes.Add(1)
	c.bytes.Add(int64(len(p)))
	return len(p), nil
}

// Lines that come one after another are written together, and soon.
func TestWriterGathers(t *testing.T) {
	var c counter
	w := NewWriter(&c, 0, nil)
	defer w.Close(time.Minute)
	const lines = 10_000
	for range lines {
		if _, err := w.Write([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); c.bytes.Load() < 5*lines; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are written", c.bytes.Load())
		}
	}
	if n := c.writes.Load(); n > lines/10 {
		t.Errorf("%d writes of %d lines", n, lines)
	}
}
