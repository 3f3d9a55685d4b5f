package mux

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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
