package loop

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// TestEarly: what a client says first is there before the peer has answered, and no more of it than is kept
// for another peer. The rest follows the answer.
func TestEarly(t *testing.T) {
	const all = 10 * earlyMost
	rest := make(chan int64, 1)
	c, s := toPeerThat(t, func(s *hbone.Stream) {
		_ = s.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := io.ReadFull(s, make([]byte, earlyMost)); err != nil {
			t.Errorf("%d bytes before the answer: %v", n, err)
		}
		_ = s.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("more before the answer: %d, %v", n, err)
		}
		_ = s.SetReadDeadline(time.Now().Add(time.Minute))
		_ = s.Respond(200)
		n, err := io.Copy(io.Discard, s)
		if err != nil {
			t.Error(err)
		}
		rest <- n
		_ = s.Close()
	})
	if _, err := c.Write(make([]byte, all)); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if n := <-rest; n != all-earlyMost {
		t.Errorf("%d bytes after the answer", n)
	}
	wantClosed(t, s, "")
}
