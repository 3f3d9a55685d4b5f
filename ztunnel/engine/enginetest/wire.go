package enginetest

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// wire stands between two engines and can be cut.
type wire struct {
	addr netip.AddrPort
	mu   sync.Mutex
	to   netip.AddrPort
	live map[net.Conn]struct{}
	done bool
}

// newWire carries connections to an address; pass, if not nil, carries each direction's bytes.
func newWire(t testing.TB, to netip.AddrPort, pass func(dst io.Writer, src io.Reader)) *wire {
	if pass == nil {
		pass = func(dst io.Writer, src io.Reader) { _, _ = io.Copy(dst, src) }
	}
	w := &wire{to: to, live: map[net.Conn]struct{}{}}
	w.addr = ServeTCP(t, func(a *net.TCPConn) {
		c, err := net.Dial("tcp", w.target().String())
		if err != nil {
			return
		}
		b := c.(*net.TCPConn)
		w.keep(a, b)
		defer w.forget(a, b)
		var wg sync.WaitGroup
		wg.Go(func() { pass(a, b); _ = a.CloseWrite() })
		wg.Go(func() { pass(b, a); _ = b.CloseWrite() })
		wg.Wait()
	})
	t.Cleanup(w.end)
	return w
}

func (w *wire) target() netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to
}

// lead has what comes from now on go elsewhere.
func (w *wire) lead(to netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
}

func (w *wire) keep(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.live[c] = struct{}{}
		if w.done {
			_ = c.Close()
		}
	}
}

func (w *wire) forget(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		delete(w.live, c)
		_ = c.Close()
	}
}

// cut ends every connection that is carried now.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.live {
		_ = c.Close()
	}
}

func (w *wire) end() {
	w.mu.Lock()
	w.done = true
	w.mu.Unlock()
	w.cut()
}
