package mux

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// scenes are what two ends may have to do with each other.
func scenes() map[string]scene {
	return map[string]scene{
		"request and answer": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			cl, err := c.open(&hbone.Request{Authority: "a.b:80", Baggage: "k=v", Forwarded: `for="10.0.0.1:1"`,
				Traceparent: hbone.NewTraceparent(func() uint64 { return 7 }).String(),
				Header:      []hpack.HeaderField{{Name: "x-other", Value: "1"}}})
			if err != nil {
				t.Fatal(err)
			}
			sl, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			note("request %+v", sl.Request())
			note("bad status %s", kind(sl.Respond(100)))
			note("answered %s", kind(sl.Respond(200, hpack.HeaderField{Name: "baggage", Value: "their=own"})))
			note("twice %s", kind(sl.Respond(200)))
			status, fields, err := cl.WaitResponse(t.Context())
			note("answer %d %v %s", status, fields, kind(err))
			_ = cl.Close()
			_ = sl.Close()
		},
		"refusal": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			for _, status := range []int{300, 401, 503, 599} {
				cl, err := c.open(&hbone.Request{Authority: "a.b:80"})
				if err != nil {
					t.Fatal(err)
				}
				sl, err := s.next()
				if err != nil {
					t.Fatal(err)
				}
				_ = sl.Respond(status)
				_ = sl.Close()
				got, _, err := cl.WaitResponse(t.Context())
				note("answer %d %s, data %s", got, kind(err), readAll(cl))
				_ = cl.Close()
			}
		},
		"bulk both ways": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			var wg sync.WaitGroup
			for i := range 4 {
				cl, sl := meet(t, c, s)
				for side, l := range []link{cl, sl} {
					wg.Go(func() { send(t, l, 3<<20, byte(i+10*side)) })
					wg.Go(func() {
						got := readAll(l)
						if i+side == 0 {
							note("%s", got)
						}
					})
				}
			}
			wg.Wait()
			eventually(t, "streams are gone", func() bool { return c.NumStreams()+s.NumStreams() == 0 })
		},
		"early data": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			cl, err := c.open(&hbone.Request{Authority: "a.b:80"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = cl.Write([]byte("early"))
			note("write %s, end %s", kind(err), kind(cl.CloseWrite()))
			sl, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			note("%s", readAll(sl))
			_ = sl.Respond(200)
			_, _ = sl.Write([]byte("late"))
			_ = sl.CloseWrite()
			note("%s", readAll(cl))
		},
		"half close": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			cl, sl := meet(t, c, s)
			_, _ = sl.Write([]byte("hello"))
			_ = sl.CloseWrite()
			note("%s", readAll(cl))
			_, err := cl.Write([]byte("bye"))
			note("write %s", kind(err))
			_ = cl.CloseWrite()
			note("%s", readAll(sl))
			_, err = cl.Write([]byte("x"))
			note("write after end %s", kind(err))
		},
		"reset by server": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			for _, code := range []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeCancel, http2.ErrCodeRefusedStream} {
				cl, sl := meet(t, c, s)
				sl.Reset(code)
				note("%s", readAll(cl))
				_, err := cl.Write([]byte("x"))
				note("write %s", kind(err))
				_ = cl.Close()
			}
		},
		"reset by client": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			cl, sl := meet(t, c, s)
			cl.Reset(http2.ErrCodeCancel)
			note("%s", readAll(sl))
			_ = sl.Close()
		},
		"close": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			cl, sl := meet(t, c, s)
			_, _ = sl.Write([]byte("last words"))
			_ = sl.Close()
			note("%s", readAll(cl))
			eventually(t, "write fails", func() bool { _, err := cl.Write([]byte("x")); return errors.Is(err, hbone.ErrReset) })
			note("%s", kind(cl.Close()))
		},
		"no answer": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			cl, err := c.open(&hbone.Request{Authority: "a.b:80"})
			if err != nil {
				t.Fatal(err)
			}
			sl, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			_ = sl.Close()
			_, _, err = cl.WaitResponse(t.Context())
			note("%s", kind(err))
			_ = cl.Close()
		},
		"headers too large": func(t *testing.T, c dialer, _ taker, note func(string, ...any)) {
			_, err := c.open(&hbone.Request{Authority: "a.b:80", Baggage: strings.Repeat("x", 5000)})
			note("%s", kind(err))
			_, err = c.open(&hbone.Request{Authority: "1.2.3:80"})
			note("%s", kind(err))
		},
		"room": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			for range 50 {
				meet(t, c, s)
			}
			_, err := c.open(&hbone.Request{Authority: "a.b:80"})
			note("room %d, %s", c.Room(), kind(err))
		},
		"drain by server": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			cl, sl := meet(t, c, s)
			s.GoAway()
			eventually(t, "no room", func() bool { return c.Room() == 0 })
			_, err := c.open(&hbone.Request{Authority: "a.b:80"})
			note("open %s", kind(err))
			finish(cl, sl, note)
			eventually(t, "end", func() bool { return c.Err() != nil && s.Err() != nil })
			note("%s, %s", kind(c.Err()), kind(s.Err()))
		},
		"drain by client": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			cl, sl := meet(t, c, s)
			c.GoAway()
			note("room %d", c.Room())
			finish(cl, sl, note)
			eventually(t, "end", func() bool { return c.Err() != nil && s.Err() != nil })
			note("%s", kind(c.Err()))
		},
		"connection closed": func(t *testing.T, c dialer, s taker, note func(string, ...any)) {
			cl, sl := meet(t, c, s)
			s.shut()
			note("%s", readAll(cl))
			note("%s", readAll(sl))
			_, err := c.open(&hbone.Request{Authority: "a.b:80"})
			note("%s", kind(err))
			_, err = s.next()
			note("%s, %s", kind(err), kind(s.Err()))
		},
	}
}

// finish says a word each way and ends both sides.
func finish(cl, sl link, note func(string, ...any)) {
	_, _ = cl.Write([]byte("still"))
	_ = cl.CloseWrite()
	note("%s", readAll(sl))
	_, _ = sl.Write([]byte("here"))
	_ = sl.CloseWrite()
	note("%s", readAll(cl))
	_ = cl.Close()
	_ = sl.Close()
}

// send writes n bytes that depend on the seed, in pieces of all sizes, and ends.
func send(t *testing.T, l link, n int, seed byte) {
	src := rand.NewChaCha8([32]byte{seed})
	sizes := rand.New(rand.NewPCG(uint64(seed), 1))
	buf := make([]byte, 70000)
	for n > 0 {
		p := buf[:min(n, 1+sizes.IntN(len(buf)))]
		_, _ = src.Read(p)
		if m, err := l.Write(p); m != len(p) || err != nil {
			t.Errorf("write: %d of %d, %v", m, len(p), err)
			return
		}
		n -= len(p)
	}
	if err := l.CloseWrite(); err != nil {
		t.Errorf("end: %v", err)
	}
}
