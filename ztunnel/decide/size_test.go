package decide

import (
	"testing"
	"unsafe"
)

// TestStateStaysSmall: every idle connection has one. 64 bytes is a size that the runtime has; one byte more
// takes 80.
func TestStateStaysSmall(t *testing.T) {
	if n := unsafe.Sizeof(state{}); n > 64 {
		t.Errorf("a state takes %d bytes", n)
	}
}
