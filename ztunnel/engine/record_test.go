package engine

import (
	"testing"
	"unsafe"
)

// TestRecordStaysSmall: a record is the largest part of an idle connection. 480 bytes is a size that the
// runtime has; one byte more takes 512.
func TestRecordStaysSmall(t *testing.T) {
	if n := unsafe.Sizeof(Record{}); n > 480 {
		t.Errorf("a record takes %d bytes", n)
	}
}
