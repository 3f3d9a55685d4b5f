package enginetest

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// urgent: marks of urgent data, at which every read stops, hold up nothing of what comes behind them.
func (by engines) urgent(t *testing.T) {
	const rounds = 100
	by.paths(t, Echo, func(t *testing.T, to netip.AddrPort, s *side) {
		c := Connect(t, to)
		for range rounds { // some of them find the engine busy, so that all three wait for it at once
			for _, piece := range []struct {
				text  string
				flags int
			}{{"abc", 0}, {"!", unix.MSG_OOB}, {"def", 0}} {
				if err := send(c, []byte(piece.text), piece.flags); err != nil {
					t.Fatal(err)
				}
			}
			b := make([]byte, 6) // the urgent byte has no place in a stream
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.ReadFull(c, b); err != nil || string(b) != "abcdef" {
				t.Fatalf("%q came back, %v", b, err)
			}
		}
		_ = c.CloseWrite()
		if r := s.d.ended(engine.Outbound, 1)[0]; r.Sent.Load() != 6*rounds {
			t.Errorf("sent %d", r.Sent.Load())
		}
	})
}

func send(c *net.TCPConn, b []byte, flags int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) { serr = unix.Sendto(int(fd), b, flags, nil) })
	if err == nil {
		err = serr
	}
	return err
}
