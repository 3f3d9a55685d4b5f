package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// goServer serves CONNECT with x/net/http2's server: it echoes, with extra headers and trailers.
func goServer(t testing.TB, nc net.Conn) {
	t.Helper()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "10.1.2.3:8080" || r.Header.Get("Baggage") != "k=v" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		w.Header().Set("baggage", "their=own")
		w.Header().Set("Trailer", "x-end")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		buf := make([]byte, 32*kib)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set("x-end", "1")
	})
	var wg sync.WaitGroup
	wg.Go(func() { (&http2.Server{}).ServeConn(nc, &http2.ServeConnOpts{Handler: h}) })
	t.Cleanup(func() { _ = nc.Close(); wg.Wait() })
}

func TestClientAgainstGo(t *testing.T) {
	a, b := net.Pipe()
	goServer(t, b)
	c := newHost(t, a, false, hbone.Config{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { tunnelThroughGo(t, c) })
	}
	wg.Wait()
	l, err := c.open(&hbone.Request{Authority: "elsewhere:1"})
	if err != nil {
		t.Fatal(err)
	}
	if status, _, err := l.WaitResponse(t.Context()); status != 400 || err != nil {
		t.Errorf("refused tunnel: %d, %v", status, err)
	}
	_ = l.Close()
	c.GoAway()
	eventually(t, "end", func() bool { return errors.Is(c.Err(), hbone.ErrGone) })
}

func tunnelThroughGo(t *testing.T, c *host) {
	l, err := c.open(&hbone.Request{Authority: "10.1.2.3:8080", Baggage: "k=v",
		Forwarded: `for="10.0.0.1:1"`, Traceparent: hbone.NewTraceparent(nil).String(),
		Header: []hpack.HeaderField{{Name: "x-other", Value: "1"}}})
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	want := bytes.Repeat([]byte("0123456789"), 50000)
	go func() { _, _ = l.Write(want); _ = l.CloseWrite() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	status, hdr, err := l.WaitResponse(ctx)
	if status != 200 || err != nil || hbone.GetHeader(hdr, "baggage") != "their=own" {
		t.Errorf("answer: %d, %v, %v", status, hdr, err)
	}
	if got, err := io.ReadAll(l); err != nil || !bytes.Equal(got, want) {
		t.Errorf("echo: %d bytes, %v", len(got), err)
	}
}

// goClient opens tunnels with x/net/http2's transport to a mux that echoes.
func goClient(t testing.TB) (*http2.ClientConn, *host) {
	t.Helper()
	a, b := net.Pipe()
	s := newHost(t, b, true, hbone.Config{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			l, err := s.next()
			if err != nil {
				return
			}
			wg.Go(func() { echo(l) })
		}
	})
	cc, err := (&http2.Transport{}).NewClientConn(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close(); s.Close(); wg.Wait() })
	return cc, s
}

func echo(l link) {
	defer l.Close()
	if l.Respond(200) != nil {
		return
	}
	if _, err := io.Copy(struct{ io.Writer }{l}, struct{ io.Reader }{l}); err == nil {
		_ = l.CloseWrite()
	}
}

func TestServerAgainstGo(t *testing.T) {
	cc, s := goClient(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			pr, pw := io.Pipe()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://10.1.2.3:8080", pr)
			req.Header.Set("Baggage", "k=v")
			req.Trailer = http.Header{"X-End": {"1"}}
			res, err := cc.RoundTrip(req)
			if err != nil || res.StatusCode != 200 {
				t.Errorf("answer: %v, %v", res, err)
				return
			}
			defer res.Body.Close()
			want := bytes.Repeat([]byte("0123456789"), 50000)
			go func() { _, _ = pw.Write(want); _ = pw.Close() }()
			if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, want) {
				t.Errorf("echo: %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	eventually(t, "streams are gone", func() bool { return s.NumStreams() == 0 })
}

func TestServerRefusesWhatIsNoTunnel(t *testing.T) {
	cc, s := goClient(t)
	for _, what := range []struct{ method, url, body string }{
		{"GET", "https://a:1/x", ""},
		{"POST", "https://a:1/x", string(make([]byte, 100000))},
		{"CONNECT", "https://a", ""},
		{"CONNECT", "https://1.2.3:80", ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), what.method, what.url, bytes.NewBufferString(what.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := cc.RoundTrip(req)
		if err != nil || res.StatusCode != 400 {
			t.Errorf("%s %s: %v, %v", what.method, what.url, res, err)
			continue
		}
		_ = res.Body.Close()
	}
	s.do(func() {
		if len(s.bad) != 4 || s.c.NumStreams() != 0 || s.c.Err() != nil {
			t.Errorf("told of %v, %d streams, %v", s.bad, s.c.NumStreams(), s.c.Err())
		}
	})
}

func TestDrainAgainstGo(t *testing.T) {
	cc, s := goClient(t)
	pr, pw := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://10.1.2.3:8080", pr)
	res, err := cc.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	s.GoAway()
	eventually(t, "client takes no more", func() bool { return !cc.CanTakeNewRequest() })
	go func() { _, _ = pw.Write([]byte("x")); _ = pw.Close() }()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	eventually(t, "end", func() bool { return errors.Is(s.Err(), hbone.ErrGone) })
}
