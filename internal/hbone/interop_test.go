package hbone

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
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
	t.Cleanup(func() { nc.Close(); wg.Wait() })
}

func TestClientAgainstGo(t *testing.T) {
	c, s := tlsPair(t)
	goServer(t, s)
	cc, err := NewClient(c, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { tunnelThroughGo(t, cc) })
	}
	wg.Wait()
	st, err := cc.Connect(t.Context(), &Request{Authority: "elsewhere:1"})
	if !errors.Is(err, StatusError{400}) {
		t.Errorf("refused tunnel: %v, %v", st, err)
	}
	cc.GoAway()
	<-cc.Done()
}

func tunnelThroughGo(t *testing.T, cc *ClientConn) {
	s, err := cc.Open(t.Context(), &Request{Authority: "10.1.2.3:8080", Baggage: "k=v",
		Forwarded: `for="10.0.0.1:1"`, Traceparent: NewTraceparent(nil).String(),
		Header: []hpack.HeaderField{{Name: "x-other", Value: "1"}}})
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	want := bytes.Repeat([]byte("0123456789"), 50000)
	go func() { _, _ = s.Write(want); _ = s.CloseWrite() }()
	status, hdr, err := s.WaitResponse(t.Context())
	if status != 200 || err != nil || GetHeader(hdr, "baggage") != "their=own" {
		t.Errorf("answer: %d, %v, %v", status, hdr, err)
	}
	if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, want) {
		t.Errorf("echo: %d bytes, %v", len(got), err)
	}
}

// goClient opens a tunnel with x/net/http2's transport.
func goClient(t testing.TB, nc *tls.Conn) *http2.ClientConn {
	t.Helper()
	cc, err := (&http2.Transport{}).NewClientConn(nc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

func TestServerAgainstGo(t *testing.T) {
	c, sv := tlsPair(t)
	sc := NewServer(sv, Config{})
	serve(t, sc, echo)
	cc := goClient(t, c)
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
			go func() { _, _ = pw.Write(want); pw.Close() }()
			if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, want) {
				t.Errorf("echo: %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	eventually(t, "streams are gone", func() bool { return sc.NumStreams() == 0 })
}

func TestServerRefusesWhatIsNoTunnel(t *testing.T) {
	c, sv := tlsPair(t)
	bad := make(chan error, 8)
	sc := NewServer(sv, Config{OnBadRequest: func(err error) { bad <- err }})
	serve(t, sc, echo)
	cc := goClient(t, c)
	for _, req := range []func() *http.Request{
		func() *http.Request { r, _ := http.NewRequest("GET", "https://a:1/x", nil); return r },
		func() *http.Request {
			r, _ := http.NewRequest("POST", "https://a:1/x", bytes.NewReader(make([]byte, 100000)))
			return r
		},
		func() *http.Request { r, _ := http.NewRequest("CONNECT", "https://a", nil); return r },
		func() *http.Request { r, _ := http.NewRequest("CONNECT", "https://1.2.3:80", nil); return r },
	} {
		r := req()
		res, err := cc.RoundTrip(r.WithContext(t.Context()))
		if err != nil || res.StatusCode != 400 {
			t.Errorf("%s %s: %v, %v", r.Method, r.URL, res, err)
			continue
		}
		res.Body.Close()
		if err := <-bad; !errors.Is(err, ErrHeaders) {
			t.Errorf("%v", err)
		}
	}
	if sc.NumStreams() != 0 || sc.Err() != nil {
		t.Errorf("%d streams, %v", sc.NumStreams(), sc.Err())
	}
}

func TestDrainAgainstGo(t *testing.T) {
	c, sv := tlsPair(t)
	sc := NewServer(sv, Config{})
	serve(t, sc, echo)
	cc := goClient(t, c)
	pr, pw := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://10.1.2.3:8080", pr)
	res, err := cc.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	sc.GoAway()
	eventually(t, "client takes no more", func() bool { return !cc.CanTakeNewRequest() })
	go func() { _, _ = pw.Write([]byte("x")); pw.Close() }()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	<-sc.Done()
}
