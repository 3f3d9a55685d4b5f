package poll

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNoLostWakeup: whatever comes while the loop is about to sleep wakes it. Each of several peers waits
// for the echo of each byte, at all sorts of moments; a wake-up that is lost leaves one waiting.
func TestNoLostWakeup(t *testing.T) {
	l := start(t)
	rounds := 5_000
	if testing.Short() {
		rounds = 2_000
	}
	var wg sync.WaitGroup
	for i := range 6 {
		a, b := pair(t)
		_ = unix.SetNonblock(b, false)
		_ = unix.SetsockoptTimeval(b, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20})
		on(t, l, func() {
			if err := l.Add(a, handler(func(Events) { echoAll(a) })); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { pingAll(t, b, rounds, i) })
	}
	wg.Go(func() {
		for range rounds {
			done := make(chan struct{})
			l.Post(func() { close(done) })
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Error("what was posted did not run")
				return
			}
		}
	})
	wg.Wait()
}

func echoAll(fd int) {
	var b [16]byte
	for {
		n, errno := Read(fd, b[:])
		if errno != 0 || n == 0 {
			return
		}
		Write(fd, b[:n])
	}
}

func pingAll(t *testing.T, fd, rounds, how int) {
	b := []byte{0}
	for range rounds {
		_, _ = unix.Write(fd, b)
		n, err := unix.Read(fd, b)
		for err == unix.EINTR { // by the scheduler: with a limit of time it is not tried again
			n, err = unix.Read(fd, b)
		}
		if n != 1 || err != nil {
			t.Errorf("echo: %d, %v", n, err)
			return
		}
		switch how {
		case 0:
		case 1:
			runtime.Gosched()
		default:
			for range rand.IntN(200 * how) { // some time, but no sleep
				runtime.KeepAlive(b)
			}
		}
	}
}
