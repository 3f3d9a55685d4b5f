package hbone

import (
	"testing"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// TestEmitAllocatesNothing: DATA frames are written into the batch they are sent in.
func TestEmitAllocatesNothing(t *testing.T) {
	c := &conn{peer: h2.InitialPeer()}
	s := &Stream{c: c}
	s.canWrite.L = &c.mu
	out, data := make([]byte, 0, batchSize), make([]byte, h2.MaxData)
	n := testing.AllocsPerRun(200, func() {
		s.out, s.sendWin, c.sendWin = data, h2.MaxWindow, h2.MaxWindow
		if out = c.emit(out[:0], s, batchSize); len(out) <= len(data) {
			t.Fatal("no DATA")
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWindowUpdateAllocatesOne: it is the frame that http2.Framer makes of it.
func TestWindowUpdateAllocatesOne(t *testing.T) {
	c := newConn(nil, Config{}, true)
	c.peer.Known = true
	c.rd.r = &endless{frame: []byte{0, 0, 4, byte(http2.FrameWindowUpdate), 0, 0, 0, 0, 0, 0, 0, 0, 1}}
	c.writing = true
	n := testing.AllocsPerRun(200, func() {
		c.sendWin = 0
		c.meters.SentData()
		if err := c.readFrame(); err != nil || c.sendWin != 1 {
			t.Fatal(err, c.sendWin)
		}
	})
	if n > 1 {
		t.Errorf("%v allocations", n)
	}
}
