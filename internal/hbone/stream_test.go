package hbone

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

func TestEcho(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	serve(t, sc, echo)
	s := open(t, cc)
	for _, n := range []int{1, 5, 16375, 16384, 100000} {
		want := bytes.Repeat([]byte{byte(n)}, n)
		go s.Write(want)
		got := make([]byte, n)
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("after both ends: %d, %v", n, err)
	}
	eventually(t, "stream is gone", func() bool { return cc.NumStreams() == 0 && sc.NumStreams() == 0 })
}

// TestBulk sends 64 MiB both ways at once and compares checksums.
func TestBulk(t *testing.T) {
	for _, streams := range []int{1, 8} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			cc, sc := endpoints(t, Config{}, Config{})
			serve(t, sc, func(s *Stream) { exchange(t, s, 64*mib/streams) })
			var wg sync.WaitGroup
			for range streams {
				s := open(t, cc)
				wg.Go(func() { exchange(t, s, 64*mib/streams) })
			}
			wg.Wait()
			eventually(t, "streams are gone", func() bool { return cc.NumStreams() == 0 && sc.NumStreams() == 0 })
		})
	}
}

// exchange sends n random bytes and their checksum, and checks what it receives likewise.
func exchange(t *testing.T, s *Stream, n int) {
	var wg sync.WaitGroup
	wg.Go(func() {
		sum, src := sha256.New(), rand.NewChaCha8([32]byte{1})
		if _, err := io.Copy(io.MultiWriter(s, sum), io.LimitReader(src, int64(n))); err != nil {
			t.Errorf("send: %v", err)
		}
		_, err := s.Write(sum.Sum(nil))
		if err := errors.Join(err, s.CloseWrite()); err != nil {
			t.Errorf("send checksum: %v", err)
		}
	})
	sum := sha256.New()
	if _, err := io.CopyN(sum, s, int64(n)); err != nil {
		t.Errorf("receive: %v", err)
	}
	if want, err := io.ReadAll(s); err != nil || !bytes.Equal(want, sum.Sum(nil)) {
		t.Errorf("checksum differs: %v", err)
	}
	wg.Wait()
}

func TestThousandStreams(t *testing.T) {
	const conns, each = 10, 100
	var wg sync.WaitGroup
	for range conns {
		cc, sc := endpoints(t, Config{MaxStreams: each}, Config{})
		serve(t, sc, echo)
		for i := range each {
			wg.Go(func() {
				s := open(t, cc)
				want := bytes.Repeat([]byte{byte(i)}, 1000)
				if _, err := s.Write(want); err != nil {
					t.Error(err)
				}
				_ = s.CloseWrite()
				if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, want) {
					t.Errorf("stream %d: %d bytes, %v", i, len(got), err)
				}
			})
		}
	}
	wg.Wait()
}

func TestHalfCloseEitherWay(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	serve(t, sc, func(s *Stream) { // speaks first, ends first, then listens
		_, _ = s.Write([]byte("hello"))
		_ = s.CloseWrite()
		if got, err := io.ReadAll(s); err != nil || string(got) != "bye" {
			t.Errorf("after our end: %q, %v", got, err)
		}
	})
	s := open(t, cc)
	if got, err := io.ReadAll(s); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := s.Write([]byte("bye")); err != nil {
		t.Fatalf("write after the peer's end: %v", err)
	}
	_ = s.CloseWrite()
	if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("write after our end: %v", err)
	}
	eventually(t, "gone", func() bool { return cc.NumStreams() == 0 && sc.NumStreams() == 0 })
}

func TestReset(t *testing.T) {
	for _, code := range []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeCancel, http2.ErrCodeConnect} {
		t.Run(code.String(), func(t *testing.T) {
			cc, sc := endpoints(t, Config{}, Config{})
			serve(t, sc, func(s *Stream) {
				_, _ = s.Read(make([]byte, 1))
				s.Reset(code)
				if _, err := s.Read(make([]byte, 1)); err != net.ErrClosed {
					t.Errorf("read after own reset: %v", err)
				}
			})
			s := open(t, cc)
			_, _ = s.Write([]byte("x"))
			_, err := s.Read(make([]byte, 1))
			if !errors.Is(err, ErrReset) || !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, ErrConnLost) {
				t.Fatalf("read: %v", err)
			}
			if _, err := s.Write([]byte("x")); !errors.Is(err, ErrReset) {
				t.Fatalf("write: %v", err)
			}
		})
	}
}

// TestCloseReadsAsEnd: what was written before Close arrives, then EOF, then writes fail.
func TestCloseReadsAsEnd(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	serve(t, sc, func(s *Stream) { _, _ = s.Write(make([]byte, 100000)) })
	s := open(t, cc)
	if n, err := io.Copy(io.Discard, s); n != 100000 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	eventually(t, "write fails", func() bool { _, err := s.Write([]byte("x")); return errors.Is(err, ErrReset) })
}

func TestConnLost(t *testing.T) {
	c, sv := tlsPair(t)
	cc, sc := endpointsOn(t, c, sv, Config{}, Config{})
	got := make(chan error, 1)
	serve(t, sc, func(s *Stream) { _, err := io.Copy(io.Discard, s); got <- err })
	s := open(t, cc)
	_, _ = s.Write([]byte("x"))
	c.NetConn().Close()
	if err := <-got; !errors.Is(err, ErrConnLost) {
		t.Errorf("server: %v", err)
	}
	if _, err := io.ReadAll(s); !errors.Is(err, ErrConnLost) {
		t.Errorf("client: %v", err)
	}
	if _, err := cc.Open(t.Context(), &Request{Authority: "a:1"}); !errors.Is(err, ErrConnLost) {
		t.Errorf("open: %v", err)
	}
	<-cc.Done()
	<-sc.Done()
	if _, err := sc.Accept(); !errors.Is(err, ErrConnLost) {
		t.Errorf("accept: %v", err)
	}
}

func TestDeadlines(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	serve(t, sc, func(s *Stream) { <-sc.Done() })
	s := open(t, cc)
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: %v", err)
	}
	go func() { // once the write can go no further
		for end := time.Now().Add(time.Minute); sc.Buffered() < h2.DefaultStreamWindow && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		_ = s.SetDeadline(time.Now())
	}()
	_ = s.SetDeadline(time.Time{})
	n, err := s.Write(make([]byte, mib)) // more than the window
	if !errors.Is(err, os.ErrDeadlineExceeded) || n != h2.DefaultStreamWindow {
		t.Fatalf("write: %d, %v", n, err)
	}
	_ = s.SetDeadline(time.Time{})
	go func() { time.Sleep(10 * time.Millisecond); s.Close() }()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("read while closed: %v", err)
	}
}

// TestSlowReader: streams that nobody reads cost their window each, and hold up no other.
func TestSlowReader(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	serve(t, sc, func(s *Stream) {
		if s.ID() < 2*19 {
			<-sc.Done()
			return
		}
		echo(s)
	})
	for range 19 {
		s := open(t, cc)
		go s.Write(make([]byte, mib))
	}
	eventually(t, "windows are full", func() bool { return sc.Buffered() == 19*h2.DefaultStreamWindow })
	s := open(t, cc)
	go func() { _, _ = s.Write(make([]byte, 4*mib)); _ = s.CloseWrite() }()
	if n, err := io.Copy(io.Discard, s); n != 4*mib || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if got := sc.Buffered(); got != 19*h2.DefaultStreamWindow {
		t.Errorf("buffered %d", got)
	}
}

// TestSmallBuffer: MaxBuffered bounds all streams together, and nothing is stuck once they are read.
func TestSmallBuffer(t *testing.T) {
	cfg := Config{StreamWindow: 64 * kib, MaxBuffered: 256 * kib}
	cc, sc := endpoints(t, Config{}, cfg)
	release := make(chan struct{})
	serve(t, sc, func(s *Stream) { <-release; echo(s) })
	var wg sync.WaitGroup
	for range 20 {
		s := open(t, cc)
		wg.Go(func() { _, _ = s.Write(make([]byte, 200*kib)); _ = s.CloseWrite() })
		wg.Go(func() {
			if n, err := io.Copy(io.Discard, s); n != 200*kib || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	eventually(t, "buffer is full", func() bool { return sc.Buffered() > 240*kib })
	if got := sc.Buffered(); got > 256*kib {
		t.Errorf("buffered %d", got)
	}
	close(release)
	wg.Wait()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestReadFromSocket(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	a, b := tcpPair(t)
	serve(t, sc, echo)
	s := open(t, cc)
	go func() { _, _ = b.Write(make([]byte, mib)); b.(*net.TCPConn).CloseWrite() }()
	go func() {
		if n, err := s.ReadFrom(a); n != mib || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		_ = s.CloseWrite()
	}()
	go func() { _, _ = s.WriteTo(a); a.Close() }()
	if n, err := io.Copy(io.Discard, b); n != mib || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
}

func TestRefusal(t *testing.T) {
	cc, sc := endpoints(t, Config{}, Config{})
	go func() {
		for {
			s, err := sc.Accept()
			if err != nil {
				return
			}
			_ = s.Respond(401, hpack.HeaderField{Name: "baggage", Value: "a=b"})
			_ = s.Close()
		}
	}()
	s, err := cc.Open(t.Context(), &Request{Authority: "x.y:80", Baggage: "k=v", Header: []hpack.HeaderField{{Name: "x-a", Value: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	status, hdr, err := s.WaitResponse(t.Context())
	if err != nil || status != 401 || GetHeader(hdr, "baggage") != "a=b" {
		t.Fatalf("%d %v %v", status, hdr, err)
	}
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read: %d, %v", n, err)
	}
	eventually(t, "gone", func() bool { return cc.NumStreams() == 0 && sc.NumStreams() == 0 })
}
