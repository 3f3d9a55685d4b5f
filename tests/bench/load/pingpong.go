package load

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// exchange is one connection's request in flight.
type exchange struct {
	sent time.Time
	got  int
}

// pingpong keeps conns connections open, each with one message of size bytes going round.
func pingpong(addr string, conns, size int, d time.Duration) (*Result, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	defer p.close()
	msg, buf := make([]byte, size), make([]byte, 64<<10)
	fds, err := warm(p, addr, conns, msg, buf)
	defer closeAll(fds)
	if err != nil {
		return nil, err
	}
	state := make(map[int]*exchange, conns)
	for _, fd := range fds {
		state[fd] = &exchange{sent: time.Now()}
		write(fd, msg)
	}
	w := newWindow(d)
	lat := make([]time.Duration, 0, 1<<20)
	for w.open(time.Now()) {
		for _, e := range p.wait(1000) {
			x := state[int(e.Fd)]
			n, errno := read(int(e.Fd), buf)
			if errno == syscall.EAGAIN {
				continue
			}
			if n <= 0 || errno != 0 {
				return nil, fmt.Errorf("ping-pong with %s: connection ended: %w", addr, errno)
			}
			if x.got += n; x.got < size {
				continue
			}
			at := time.Now()
			if at.After(w.from) {
				lat = append(lat, at.Sub(x.sent))
			}
			x.got, x.sent = 0, at
			write(int(e.Fd), msg)
		}
	}
	return w.latencies(lat, 0)
}

// warm opens the connections and sends one message round each before the clock starts.
func warm(p *poller, addr string, conns int, msg, buf []byte) ([]int, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", addr, err)
	}
	var fds []int
	for range conns {
		fd, err := dial(a)
		if err != nil {
			return fds, err
		}
		fds = append(fds, fd)
		if err := round(fd, msg, buf); err != nil {
			return fds, fmt.Errorf("warm up %s: %w", addr, err)
		}
		if err := p.ctl(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			return fds, err
		}
	}
	return fds, nil
}

func round(fd int, msg, buf []byte) error {
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	if _, e := write(fd, msg); e != 0 {
		return e
	}
	for got := 0; got < len(msg); {
		n, e := read(fd, buf)
		if n <= 0 || e != 0 {
			return fmt.Errorf("read: %d bytes, %w", n, e)
		}
		got += n
	}
	return unix.SetNonblock(fd, true)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
