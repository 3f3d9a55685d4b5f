package enginetest

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

// plainSide relays outbound connections to app in plaintext.
func (by engines) plainSide(t testing.TB, app netip.AddrPort) (*side, netip.AddrPort) {
	s := newSide(t, by.client, nil, "client")
	s.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	return s, s.listen(t, engine.Outbound)
}

// paths runs f with the address of a relay to app over each path, and the engine that sees the client.
func (by engines) paths(t *testing.T, app func(*net.TCPConn), f func(t *testing.T, to netip.AddrPort, s *side)) {
	if !by.pair {
		t.Run("plain", func(t *testing.T) {
			s, to := by.plainSide(t, ServeTCP(t, app))
			f(t, to, s)
		})
	}
	t.Run("tunnel", func(t *testing.T) {
		m := by.newMesh(t, ServeTCP(t, app)).start(t)
		f(t, m.out, m.client)
	})
}

func (by engines) relay(t *testing.T) {
	by.paths(t, Echo, func(t *testing.T, to netip.AddrPort, s *side) {
		c := Connect(t, to)
		for range 3 {
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
		}
		Eventually(t, "the live record counts", func() bool { // what was written is counted a moment later
			var seen, sent, received uint64
			s.Each(func(r *engine.Record) bool {
				seen, sent, received = seen+1, r.Sent.Load(), r.Received.Load()
				return true
			})
			return seen == 1 && sent == 15 && received == 15
		})
		c.CloseWrite()
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Fatalf("at the end: %q, %v", b, err)
		}
		r := s.d.ended(engine.Outbound, 1)[0]
		if r.Reason != reason.None || r.Sent.Load() != 15 || r.Received.Load() != 15 || r.First <= 0 || r.Ended < r.First ||
			r.Source != netsock.AddrPort(c.LocalAddr()) || r.Dest != to || r.Attempts != 1 || r.TCPInfo.RTT == 0 {
			t.Errorf("record: %q %q sent %d received %d first %v ended %v source %v dest %v attempts %d info %+v", r.Reason, r.Detail,
				r.Sent.Load(), r.Received.Load(), r.First, r.Ended, r.Source, r.Dest, r.Attempts, r.TCPInfo)
		}
	})
}

// bulk sends 100 MB each way at once and compares checksums.
func (by engines) bulk(t *testing.T) {
	const size = 100_000_000
	exchange := func(c *net.TCPConn) {
		var wg sync.WaitGroup
		wg.Go(func() {
			sum := sha256.New()
			_, err := io.CopyN(io.MultiWriter(c, sum), rand.NewChaCha8([32]byte{7}), size)
			if err == nil {
				_, err = c.Write(sum.Sum(nil))
			}
			if err = errors.Join(err, c.CloseWrite()); err != nil {
				t.Errorf("send: %v", err)
			}
		})
		sum := sha256.New()
		n, err := io.CopyN(sum, c, size)
		want, err2 := io.ReadAll(c)
		if err != nil || err2 != nil || string(want) != string(sum.Sum(nil)) {
			t.Errorf("received %d bytes: %v, %v, checksums equal: %v", n, err, err2, string(want) == string(sum.Sum(nil)))
		}
		wg.Wait()
	}
	served := make(chan struct{}, 2)
	app := func(c *net.TCPConn) { exchange(c); served <- struct{}{} }
	by.paths(t, app, func(t *testing.T, to netip.AddrPort, s *side) {
		exchange(Connect(t, to))
		<-served
		r := s.d.ended(engine.Outbound, 1)[0]
		if r.Sent.Load() != size+sha256.Size || r.Received.Load() != size+sha256.Size || r.Reason != reason.None {
			t.Errorf("sent %d, received %d, %q %q", r.Sent.Load(), r.Received.Load(), r.Reason, r.Detail)
		}
	})
}

// halfCloseClientFirst: the server answers after the client's end.
func (by engines) halfCloseClientFirst(t *testing.T) {
	app := func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		time.Sleep(20 * time.Millisecond)
		_, _ = c.Write(append([]byte("got "), b...))
	}
	by.paths(t, app, func(t *testing.T, to netip.AddrPort, s *side) {
		c := Connect(t, to)
		_, _ = c.Write([]byte("all"))
		_ = c.CloseWrite()
		if b, err := io.ReadAll(c); err != nil || string(b) != "got all" {
			t.Fatalf("%q, %v", b, err)
		}
		if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.None {
			t.Errorf("ended with %q %q", r.Reason, r.Detail)
		}
	})
}

// halfCloseServerFirst: the client goes on after the server's end.
func (by engines) halfCloseServerFirst(t *testing.T) {
	got := make(chan string, 2)
	app := func(c *net.TCPConn) {
		_, _ = c.Write([]byte("hello"))
		_ = c.CloseWrite()
		b, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}
	by.paths(t, app, func(t *testing.T, to netip.AddrPort, s *side) {
		c := Connect(t, to)
		if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
			t.Fatalf("%q, %v", b, err)
		}
		_, _ = c.Write([]byte("still here"))
		_ = c.CloseWrite()
		if b := <-got; b != "still here" {
			t.Errorf("the server read %q", b)
		}
		s.d.ended(engine.Outbound, 1)
	})
}

// resetByServer: a reset arrives as one.
func (by engines) resetByServer(t *testing.T) {
	app := func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	}
	by.paths(t, app, func(t *testing.T, to netip.AddrPort, s *side) {
		c := Connect(t, to)
		_, _ = c.Write([]byte("x"))
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("read: %v", err)
		}
		if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.None || r.Detail != engine.ResetByServer {
			t.Errorf("ended with %q %q", r.Reason, r.Detail)
		}
	})
}

func (by engines) resetByClient(t *testing.T) {
	got := make(chan error, 2)
	app := func(c *net.TCPConn) {
		_, err := io.ReadAll(c)
		got <- err
	}
	by.paths(t, app, func(t *testing.T, to netip.AddrPort, s *side) {
		c := Connect(t, to)
		_, _ = c.Write([]byte("x"))
		Eventually(t, "is established", func() bool { return s.live() == 1 })
		_ = c.SetLinger(0)
		_ = c.Close()
		if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server's read: %v", err)
		}
		if r := s.d.ended(engine.Outbound, 1)[0]; r.Reason != reason.None || r.Detail != engine.ResetByClient {
			t.Errorf("ended with %q %q", r.Reason, r.Detail)
		}
	})
}
