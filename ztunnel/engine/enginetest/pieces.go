package enginetest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// exchange sends and receives at once, in pieces of random sizes, and wants its own bytes back.
func exchange(c halfCloser, size, most int, pause time.Duration) error {
	sent := noise(size)
	done := make(chan error, 1)
	go func() {
		for b := sent; len(b) > 0; {
			n := min(len(b), 1+rand.IntN(most))
			if _, err := c.Write(b[:n]); err != nil {
				done <- err
				return
			}
			if b = b[n:]; pause > 0 && rand.IntN(8) == 0 {
				time.Sleep(pause)
			}
		}
		done <- c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if serr := <-done; serr != nil {
		return fmt.Errorf("send: %w", serr)
	}
	if err != nil || !bytes.Equal(got, sent) {
		return fmt.Errorf("of %d bytes %d came back, or others: %w", len(sent), len(got), err)
	}
	return nil
}

// pieces: many connections at once, each with its own rhythm.
func (by engines) pieces(t *testing.T) {
	by.paths(t, Echo, func(t *testing.T, to netip.AddrPort, _ *side) {
		var wg sync.WaitGroup
		for i := range 40 {
			c := Connect(t, to)
			wg.Go(func() {
				if err := exchange(c, 1000<<(i%10), 200+(i%4)*20_000, time.Millisecond); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
		wg.Wait()
	})
}

// trickle: a path that tears everything into crumbs.
func (by engines) trickle(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	m.in = newWire(t, m.server.listen(t, engine.HBONE), crumbs).addr
	m.start(t)
	for range 3 {
		if err := exchange(Connect(t, m.out), 20_000, 5000, 0); err != nil {
			t.Error(err)
		}
	}
}

func crumbs(dst io.Writer, src io.Reader) {
	b := make([]byte, 40)
	for {
		n, err := src.Read(b[:1+rand.IntN(len(b))])
		if _, werr := dst.Write(b[:n]); err != nil || werr != nil {
			return
		}
		if rand.IntN(50) == 0 {
			time.Sleep(time.Millisecond) // what was written goes out alone
		}
	}
}

// backpressure: an application that does not read holds its client up, and loses nothing.
func (by engines) backpressure(t *testing.T) {
	read := make(chan struct{})
	sum := make(chan int64, 2)
	app := func(c *net.TCPConn) {
		<-read
		n, err := io.Copy(io.Discard, c)
		if err != nil {
			t.Error(err)
		}
		sum <- n
	}
	defer func() { close(read) }()
	by.paths(t, app, func(t *testing.T, to netip.AddrPort, _ *side) {
		c := Connect(t, to)
		var sent atomic.Int64
		_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
		done := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 64<<10)
			for {
				n, err := c.Write(b)
				sent.Add(int64(n))
				select {
				case <-stop:
					return
				default:
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
		var was int64 = -1
		Eventually(t, "the client is held up", func() bool {
			now := sent.Load()
			held := now == was && now > 0
			was = now
			time.Sleep(200 * time.Millisecond)
			return held
		})
		if was > 64<<20 {
			t.Errorf("%d bytes were taken that nobody reads", was)
		}
		close(stop)
		read <- struct{}{}
		<-done
		_ = c.CloseWrite()
		if n := <-sum; n != sent.Load() {
			t.Errorf("%d bytes sent, %d received", sent.Load(), n)
		}
	})
}

// fairBytes is what may pass of bulk while a message goes there and back, mostly: what windows let wait before it
// on either way (4 MiB each), and as much the other way meanwhile.
const fairBytes = 4 * 4 << 20

// fair: small messages pass a connection that is full of bulk, both ways. The bytes of bulk that pass meanwhile are
// counted, since time says how fast the machine is.
func (by engines) fair(t *testing.T) {
	app := ServeTCP(t, func(c *net.TCPConn) {
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		switch b[0] {
		case 'u':
			_, _ = io.Copy(io.Discard, c)
		case 'd':
			_, _ = io.Copy(c, zeros{})
		default:
			_, _ = c.Write(b)
			Echo(c)
		}
	})
	m := by.newMesh(t, app).start(t)
	up, down, small := Connect(t, m.out), Connect(t, m.out), Connect(t, m.out)
	go func() { _, _ = up.Write([]byte("u")); _, _ = io.Copy(up, zeros{}) }()
	go func() { _, _ = down.Write([]byte("d")); _, _ = io.Copy(io.Discard, down) }()
	Eventually(t, "bulk runs both ways", func() bool {
		var sent, received uint64
		m.client.Each(func(r *engine.Record) bool { sent += r.Sent.Load(); received += r.Received.Load(); return true })
		return sent > 2<<20 && received > 2<<20
	})
	bulk := func() (n uint64) {
		m.client.Each(func(r *engine.Record) bool { n += r.Sent.Load() + r.Received.Load(); return true })
		return n
	}
	var passed [50]uint64
	for i := range passed {
		before := bulk()
		RoundTrip(t, small)
		passed[i] = bulk() - before
	}
	slices.Sort(passed[:])
	if n := passed[len(passed)/2]; n > fairBytes {
		t.Errorf("%d bytes of bulk pass during a message", n)
	}
	if passed[len(passed)-1] == 0 {
		t.Error("bulk has ended")
	}
	if n := m.client.pod.Usage.Tunnels.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
