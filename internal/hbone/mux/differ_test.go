package mux

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// link is what a tunnel of either endpoint can do.
type link interface {
	io.ReadWriteCloser
	Request() *hbone.Request
	CloseWrite() error
	Reset(http2.ErrCode)
	Respond(int, ...hpack.HeaderField) error
	WaitResponse(context.Context) (int, []hpack.HeaderField, error)
}

// dialer and taker are the two ends of either endpoint.
type dialer interface {
	open(*hbone.Request) (link, error)
	Room() int
	common
}

type taker interface {
	next() (link, error)
	common
}

type common interface {
	GoAway()
	Err() error
	NumStreams() int
	shut()
}

func (h *host) shut() { h.Close() }

type stdClient struct{ *hbone.ClientConn }

func (c stdClient) shut() { _ = c.Close() }

func (c stdClient) open(req *hbone.Request) (link, error) {
	s, err := c.Open(context.Background(), req)
	if err != nil {
		return nil, err
	}
	return s, nil
}

type stdServer struct{ *hbone.ServerConn }

func (s stdServer) shut() { _ = s.Close() }

func (s stdServer) next() (link, error) {
	st, err := s.Accept()
	if err != nil {
		return nil, err
	}
	return st, nil
}

// ends connects a client and a server, each the mux or internal/hbone.
func ends(t testing.TB, muxClient, muxServer bool, scfg hbone.Config) (c dialer, s taker) {
	t.Helper()
	a, b := net.Pipe()
	if muxServer {
		s = newHost(t, b, true, scfg)
	} else {
		sc := hbone.NewServer(b, scfg)
		t.Cleanup(func() { _ = sc.Close() })
		s = stdServer{sc}
	}
	if muxClient {
		return newHost(t, a, false, hbone.Config{}), s
	}
	cc, err := hbone.NewClient(a, hbone.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return stdClient{cc}, s
}

// scene is what both ends do; it notes what each sees.
type scene func(t *testing.T, c dialer, s taker, note func(string, ...any))

// TestDiffer plays scenes between all pairs of the two endpoints: they are not to be told apart.
func TestDiffer(t *testing.T) {
	for name, play := range scenes() {
		t.Run(name, func(t *testing.T) {
			want := perform(t, play, false, false)
			if len(want) == 0 {
				t.Fatal("nothing was seen")
			}
			for _, who := range [][2]bool{{true, false}, {false, true}, {true, true}} {
				if diff := cmp.Diff(want, perform(t, play, who[0], who[1])); diff != "" {
					t.Errorf("client mux %v, server mux %v:\n%s", who[0], who[1], diff)
				}
			}
		})
	}
}

func perform(t *testing.T, play scene, muxClient, muxServer bool) (seen []string) {
	c, s := ends(t, muxClient, muxServer, hbone.Config{MaxStreams: 50, MaxHeaderList: 4000})
	eventually(t, "room by SETTINGS", func() bool { return c.Room() == 50 })
	var mu sync.Mutex
	play(t, c, s, func(format string, a ...any) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf(format, a...))
	})
	return seen
}

// kind names an error by what it is to its user.
func kind(err error) string {
	var is []string
	for name, e := range map[string]error{"reset": hbone.ErrReset, "refused": hbone.ErrRefused, "lost": hbone.ErrConnLost,
		"gone": hbone.ErrGone, "no room": hbone.ErrNoRoom, "headers": hbone.ErrHeaders, "eof": io.EOF, "closed": net.ErrClosed} {
		if errors.Is(err, e) {
			is = append(is, name)
		}
	}
	if err == nil || len(is) == 0 {
		return fmt.Sprint(err)
	}
	slices.Sort(is)
	return strings.Join(is, " ")
}

func readAll(l link) string {
	b, err := io.ReadAll(l)
	return fmt.Sprintf("%d bytes %x, then %s", len(b), sha256.Sum256(b), kind(err))
}

// meet opens a tunnel and takes it at the other end, answered 200.
func meet(t *testing.T, c dialer, s taker) (cl, sl link) {
	t.Helper()
	cl, err := c.open(&hbone.Request{Authority: "10.0.0.1:80", Baggage: "k=v"})
	if err != nil {
		t.Fatal(err)
	}
	if sl, err = s.next(); err != nil {
		t.Fatal(err)
	}
	if err := sl.Respond(200); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if status, _, err := cl.WaitResponse(ctx); status != 200 || err != nil {
		t.Fatalf("answer: %d, %v", status, err)
	}
	return cl, sl
}

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
