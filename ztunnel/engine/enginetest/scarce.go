package enginetest

import (
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// scarceDescriptors: with few descriptors left some connections fail, and nothing else does.
func (by engines) scarceDescriptors(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	good := Connect(t, m.out)
	RoundTrip(t, good)
	goroutines, fds := runtime.NumGoroutine(), openFDs(t)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	restore := func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }
	defer restore()
	for spare := range 24 {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(fds + spare), Max: was.Max}); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			visit(m.out, rand.IntN(5))
		}
		if err := roundTrip(good); err != nil {
			t.Errorf("with %d descriptors: %v", spare, err)
		}
	}
	restore()
	for range 10 {
		visitEcho(t, m.out)
	}
	good.Close()
	Eventually(t, "nothing is left", func() bool {
		runtime.GC()
		return runtime.NumGoroutine() <= goroutines && openFDs(t) <= fds
	})
}

// bulkResets: bulk that is cut at any moment, from any side, leaves nothing.
func (by engines) bulkResets(t *testing.T) {
	app := func(c *net.TCPConn) {
		stop := time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, func() { _ = c.SetLinger(0); c.Close() })
		defer stop.Stop()
		go func() { _, _ = io.Copy(io.Discard, c) }()
		_, _ = io.Copy(c, zeros{})
	}
	by.paths(t, app, func(t *testing.T, to netip.AddrPort, s *side) {
		visitEnd := func() {
			nc, err := net.Dial("tcp", to.String())
			if err != nil {
				return
			}
			c := nc.(*net.TCPConn)
			stop := time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, func() {
				if rand.IntN(2) == 0 {
					_ = c.SetLinger(0)
				}
				c.Close()
			})
			defer stop.Stop()
			go func() { _, _ = io.Copy(io.Discard, c) }()
			_, _ = io.Copy(c, zeros{})
		}
		visitEnd()
		s.d.ended(engine.Outbound, 1)
		time.Sleep(50 * time.Millisecond)
		goroutines, fds := runtime.NumGoroutine(), openFDs(t)
		const visits = 100
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				for range visits / 5 {
					visitEnd()
				}
			})
		}
		wg.Wait()
		s.d.ended(engine.Outbound, 1+visits)
		Eventually(t, "nothing is left", func() bool {
			runtime.GC()
			return s.live() == 0 && runtime.NumGoroutine() <= goroutines && openFDs(t) <= fds+pipesKept
		})
	})
}

// pipesKept is how many descriptors of empty pipes engines may keep for the next bulk.
const pipesKept = 64
