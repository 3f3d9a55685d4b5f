package load

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialer is the state of the connect+request+response+close workload.
type dialer struct {
	*poller
	addr   netip.AddrPort
	state  map[int]*exchange // sent is the start of the connect; got < 0: still connecting
	msg    []byte
	buf    []byte
	w      *window
	lat    []time.Duration
	failed int
}

// connect opens, asks, reads the answer and the far end's close, conns at a time.
func connect(addr string, conns, size int, d time.Duration) (*Result, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", addr, err)
	}
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	defer p.close()
	c := &dialer{poller: p, addr: a, state: map[int]*exchange{}, msg: make([]byte, size), buf: make([]byte, 4096), w: newWindow(d), lat: make([]time.Duration, 0, 1<<18)}
	for range conns {
		if err := c.open(); err != nil {
			return nil, err
		}
	}
	for c.w.open(time.Now()) {
		for _, e := range c.wait(1000) {
			if err := c.event(int(e.Fd)); err != nil {
				return nil, err
			}
		}
	}
	for fd := range c.state {
		unix.Close(fd)
	}
	return c.w.latencies(c.lat, c.failed)
}

func (c *dialer) open() error {
	fd, err := socket(c.addr)
	if err != nil {
		return err
	}
	c.state[fd] = &exchange{sent: time.Now(), got: -1}
	if err := unix.Connect(fd, sockaddr(c.addr)); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect to %s: %w", c.addr, err)
	}
	return c.ctl(unix.EPOLL_CTL_ADD, fd, unix.EPOLLOUT)
}

func (c *dialer) event(fd int) error {
	x := c.state[fd]
	if x.got < 0 {
		if _, e := write(fd, c.msg); e != 0 {
			return c.next(fd, true)
		}
		x.got = 0
		return c.ctl(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN)
	}
	n, e := read(fd, c.buf)
	switch {
	case e == syscall.EAGAIN:
		return nil
	case n > 0:
		if x.got += n; x.got == len(c.msg) {
			if at := time.Now(); at.After(c.w.from) {
				c.lat = append(c.lat, at.Sub(x.sent))
			}
		}
		return nil
	}
	return c.next(fd, e != 0 || x.got != len(c.msg))
}

func (c *dialer) next(fd int, failed bool) error {
	if failed {
		c.failed++
	}
	delete(c.state, fd)
	unix.Close(fd)
	return c.open()
}
