package mux

import (
	"testing"
	"unsafe"
)

// TestStreamStaysSmall: every idle tunnel has one. 80 bytes is a size that the runtime has; one byte more
// takes 96.
func TestStreamStaysSmall(t *testing.T) {
	if n := unsafe.Sizeof(Stream{}); n > 80 {
		t.Errorf("a stream takes %d bytes", n)
	}
}
