package poll

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func start(t *testing.T) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	go l.Run()
	t.Cleanup(l.Stop)
	return l
}

// on runs f on the loop and waits for it.
func on(t *testing.T, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(func() { f(); close(done) }) {
		t.Fatal("the loop has ended")
	}
	<-done
}

func TestPost(t *testing.T) {
	l := start(t)
	const each, posters = 1000, 8
	n := 0
	var wg sync.WaitGroup
	for range posters {
		wg.Go(func() {
			for range each {
				l.Post(func() { n++ })
			}
		})
	}
	wg.Wait()
	on(t, l, func() {
		if n != each*posters {
			t.Errorf("%d of %d", n, each*posters)
		}
	})
}

func TestPostAfterStop(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	go l.Run()
	ran := false
	l.Post(func() { ran = true })
	l.Stop()
	if !ran {
		t.Error("what was posted before Stop did not run")
	}
	if l.Post(func() { t.Error("ran") }) {
		t.Error("posted to a loop that has ended")
	}
}

// TestTimers: in order, not too early, not if cancelled, and again after the loop has been without any.
func TestTimers(t *testing.T) {
	l := start(t)
	for range 3 {
		var order []int
		var ts [4]Timer
		done := make(chan struct{})
		begin := time.Now()
		on(t, l, func() {
			l.After(&ts[2], 30*time.Millisecond, func() { order = append(order, 2); close(done) })
			l.After(&ts[0], 10*time.Millisecond, func() { order = append(order, 0) })
			l.After(&ts[3], 15*time.Millisecond, func() { t.Error("a cancelled timer ran") })
			l.After(&ts[1], time.Hour, func() {})
			l.After(&ts[1], 20*time.Millisecond, func() { order = append(order, 1); l.Cancel(&ts[3]) })
			l.Cancel(&ts[3])
		})
		<-done
		if took := time.Since(begin); took < 30*time.Millisecond {
			t.Errorf("after %v", took)
		}
		if len(order) != 3 || order[0] != 0 || order[1] != 1 || order[2] != 2 {
			t.Errorf("order %v", order)
		}
	}
}

type handler func(Events)

func (h handler) Ready(e Events) { h(e) }

func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

// TestEvents: every write is told of, and the end too; more descriptors than a batch holds.
func TestEvents(t *testing.T) {
	l := start(t)
	const n = 5 * batch
	var mu sync.Mutex
	got, ended := map[int]int{}, 0
	var far []int
	for i := range n {
		a, b := pair(t)
		far = append(far, b)
		on(t, l, func() {
			err := l.Add(a, handler(func(Events) {
				var buf [64]byte
				mu.Lock()
				defer mu.Unlock()
				for {
					m, errno := Read(a, buf[:])
					if errno != 0 {
						return
					}
					if m == 0 {
						ended++ // it may have come since the event
						l.Forget(a, false)
						return
					}
					got[i] += m
				}
			}))
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range 10 {
		for _, fd := range far {
			Write(fd, []byte("x"))
		}
		time.Sleep(time.Millisecond)
	}
	for _, fd := range far {
		_ = unix.Shutdown(fd, unix.SHUT_WR)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		all := ended == n
		mu.Unlock()
		if all || time.Now().After(end) {
			break
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range n {
		if got[i] != 10 {
			t.Errorf("descriptor %d: %d bytes of 10", i, got[i])
		}
	}
	if ended != n {
		t.Errorf("%d of %d ended", ended, n)
	}
}

type runner func()

func (r runner) Run()   { r() }
func (r runner) Flush() { r() }

// TestTurn: another turn does not starve what is posted, and flushes come last.
func TestTurn(t *testing.T) {
	l := start(t)
	turns, stop := 0, false
	var again runner
	again = func() {
		turns++
		if !stop {
			l.Again(again)
		}
	}
	on(t, l, func() { l.Again(again) })
	time.Sleep(5 * time.Millisecond)
	flushed := make(chan int, 1)
	on(t, l, func() {
		l.Flush(runner(func() { flushed <- turns }))
		stop = true
	})
	if n := <-flushed; n == 0 {
		t.Error("no turns")
	}
}

// TestLeave: another goroutine goes on.
func TestLeave(t *testing.T) {
	l := start(t)
	on(t, l, l.Leave)
	on(t, l, func() {})
}

func TestAccept(t *testing.T) {
	for _, network := range []string{"127.0.0.1", "::1"} {
		want := netip.MustParseAddr(network)
		family, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		if want.Is6() {
			family, sa = unix.AF_INET6, &unix.SockaddrInet6{Addr: want.As16()}
		}
		ln, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(ln)
		if err := unix.Bind(ln, sa); err != nil {
			t.Skipf("no %s here: %v", network, err)
		}
		_ = unix.Listen(ln, 1)
		if _, _, errno := Accept(ln); errno != unix.EAGAIN {
			t.Fatalf("nobody there: %v", errno)
		}
		at, errno := LocalAddr(ln)
		if errno != 0 || at.Addr() != want {
			t.Fatalf("listens on %v, %v", at, errno)
		}
		peer, _ := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		defer unix.Close(peer)
		if want.Is6() {
			err = unix.Connect(peer, &unix.SockaddrInet6{Addr: want.As16(), Port: int(at.Port())})
		} else {
			err = unix.Connect(peer, &unix.SockaddrInet4{Addr: want.As4(), Port: int(at.Port())})
		}
		if err != nil {
			t.Fatal(err)
		}
		fd, from, errno := Accept(ln)
		if errno != 0 {
			t.Fatal(errno)
		}
		defer unix.Close(fd)
		if own, _ := LocalAddr(peer); own != from {
			t.Errorf("from %v, want %v", from, own)
		}
	}
}
