package loop

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
)

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestNodeQueue: beyond the node's budget the connection with most is cut, though its pod is within its own.
func TestNodeQueue(t *testing.T) {
	app := enginetest.ServeTCP(t, func(c *net.TCPConn) { _, _ = io.Copy(c, zeros{}) })
	to, sides := through(t, app, true)
	client := sides[0]
	client.mayQueue.Store(64 << 10)
	for range 8 {
		_ = enginetest.Connect(t, to).SetReadBuffer(4 << 10)
	}
	select {
	case r := <-client.closed:
		if r.Reason != reason.Limit {
			t.Errorf("ended with %q %q", r.Reason, r.Detail)
		}
	case <-time.After(time.Minute):
		t.Error("nothing is cut")
	}
}
