package mux

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// host runs a Conn on a net.Conn with goroutines and locks, as no event loop would, so that its tunnels
// can be used like those of internal/hbone.
type host struct {
	mu     sync.Mutex
	cond   *sync.Cond // everything that changes
	nc     net.Conn
	c      *Conn
	out    *outbox
	accept []*tunnel
	bad    []error
	wg     sync.WaitGroup
}

func newHost(t testing.TB, nc net.Conn, server bool, cfg hbone.Config) *host {
	t.Helper()
	h := &host{nc: nc, out: &outbox{}}
	h.cond = sync.NewCond(&h.mu)
	h.c = newConn(h.out, owner{h}, cfg, server)
	h.wg.Go(h.read)
	h.wg.Go(h.write)
	t.Cleanup(func() { h.Close(); h.wg.Wait() })
	return h
}

func (h *host) read() {
	buf := make([]byte, 20000)
	for {
		n, err := h.nc.Read(buf)
		h.mu.Lock()
		rerr := h.c.Receive(buf[:n])
		if err != nil {
			h.c.Fail(err)
		}
		h.cond.Broadcast()
		h.mu.Unlock()
		if err != nil || rerr != nil {
			return
		}
	}
}

// write sends until the connection has ended and everything is sent.
func (h *host) write() {
	defer h.nc.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		h.c.Turn()
		b := h.out.take()
		if len(b) == 0 && h.c.Err() != nil {
			return
		}
		if len(b) == 0 {
			h.cond.Wait()
			continue
		}
		h.mu.Unlock()
		_, err := h.nc.Write(b)
		h.mu.Lock()
		if h.c.Sent(len(b)); err != nil {
			h.c.Fail(err)
			h.cond.Broadcast()
			return
		}
		h.cond.Broadcast()
	}
}

// do runs f as the owner does.
func (h *host) do(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.cond.Broadcast()
}

// wait waits for what becomes true.
func (h *host) wait(ok func() bool) {
	for !ok() {
		h.cond.Wait()
	}
}

func (h *host) Close() { h.do(h.c.Close) }

func (h *host) GoAway() { h.do(h.c.GoAway) }

func (h *host) Err() (err error) {
	h.do(func() { err = h.c.Err() })
	return err
}

func (h *host) Room() (n int) {
	h.do(func() { n = h.c.Room() })
	return n
}

func (h *host) NumStreams() (n int) {
	h.do(func() { n = h.c.NumStreams() })
	return n
}

func (h *host) open(req *hbone.Request) (link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &tunnel{h: h}
	s, err := h.c.Open(req, t)
	if t.s = s; err != nil {
		return nil, err
	}
	h.cond.Broadcast()
	return t, nil
}

func (h *host) next() (link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wait(func() bool { return len(h.accept) > 0 || h.c.Err() != nil })
	if len(h.accept) == 0 {
		return nil, h.c.Err()
	}
	t := h.accept[0]
	h.accept = h.accept[1:]
	return t, nil
}

// tunnel is a stream with what was received.
type tunnel struct {
	h      *host
	s      *Stream
	req    *hbone.Request
	in     []byte
	ended  bool
	err    error
	status int
	fields []hpack.HeaderField
}

// owner is the host as Handler.
type owner struct{ *host }

func (owner) Room() {}

func of(s *Stream) *tunnel {
	t, _ := s.User().(*tunnel)
	return t
}

func (h owner) Opened(s *Stream, req *hbone.Request) {
	t := &tunnel{h: h.host, s: s, req: req}
	s.SetUser(t)
	h.accept = append(h.accept, t)
}

func (h owner) Answered(s *Stream, status int, fields []hpack.HeaderField) {
	of(s).status, of(s).fields = status, append([]hpack.HeaderField(nil), fields...)
}

func (h owner) Data(s *Stream, p []byte)    { of(s).in = append(of(s).in, p...) }
func (h owner) End(s *Stream)               { of(s).ended = true }
func (h owner) Broken(s *Stream, err error) { of(s).err = err }
func (h owner) Writable(*Stream)            {}
func (h owner) BadRequest(err error)        { h.bad = append(h.bad, err) }

func (t *tunnel) Request() *hbone.Request { return t.req }

func (t *tunnel) Read(p []byte) (n int, err error) {
	t.h.do(func() {
		t.h.wait(func() bool { return len(t.in) > 0 || t.ended || t.err != nil || t.s.Gone() })
		switch {
		case len(t.in) > 0:
			n = copy(p, t.in)
			t.in = t.in[n:]
			t.s.Consumed(n)
		case t.ended:
			err = io.EOF
		case t.err != nil:
			err = t.err
		default:
			err = net.ErrClosed
		}
	})
	return n, err
}

func (t *tunnel) Write(p []byte) (sent int, err error) {
	t.h.mu.Lock()
	defer t.h.mu.Unlock()
	for sent < len(p) {
		if t.err != nil {
			return sent, t.err
		}
		if t.s.Gone() || t.s.ended {
			return sent, net.ErrClosed
		}
		n := t.s.Write(p[sent:min(len(p), sent+Quantum)])
		if sent += n; n > 0 {
			t.h.cond.Broadcast()
		}
		if sent < len(p) && (n == 0 || t.h.out.Buffered() > Quantum) {
			t.h.cond.Wait()
		}
	}
	return sent, nil
}

func (t *tunnel) CloseWrite() error {
	t.h.do(t.s.End)
	return nil
}

func (t *tunnel) Close() error {
	t.h.do(t.s.Close)
	return nil
}

func (t *tunnel) Reset(code http2.ErrCode) { t.h.do(func() { t.s.Reset(code) }) }

func (t *tunnel) Respond(status int, fields ...hpack.HeaderField) (err error) {
	t.h.do(func() { err = t.s.Respond(status, fields...) })
	return err
}

func (t *tunnel) WaitResponse(ctx context.Context) (status int, fields []hpack.HeaderField, err error) {
	stop := context.AfterFunc(ctx, func() { t.h.do(func() {}) })
	defer stop()
	t.h.do(func() {
		t.h.wait(func() bool { return t.status != 0 || t.err != nil || t.s.Gone() || ctx.Err() != nil })
		if t.status == 0 {
			err = fmt.Errorf("wait for tunnel's answer: %w", firstOf(t.err, ctx.Err(), net.ErrClosed))
		}
		status, fields = t.status, t.fields
	})
	return status, fields, err
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// eventually waits for what becomes true in another goroutine.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
