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

var _ = []any{net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNRESET, time.Second, http2.ErrCodeNo, hpack.HeaderField{}}
