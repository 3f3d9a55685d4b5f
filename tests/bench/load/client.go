package load

import (
	"fmt"
	"io"
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
	w := newWindow(d)
	state := make(map[int]*exchange, conns)
	for _, fd := range fds {
		state[fd] = &exchange{sent: time.Now()}
		write(fd, msg)
	}
	lat := make([]time.Duration, 0, 1<<20)
	for now := w.start; now.Before(w.end); now = time.Now() {
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
	return latencies(lat, w, 0), nil
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

const requestSize = 64

// dialer is the state of the connect+request+response+close workload.
type dialer struct {
	*poller
	addr   netip.AddrPort
	state  map[int]*exchange // sent is the start of the connect; got < 0: still connecting
	msg    []byte
	buf    []byte
	w      window
	lat    []time.Duration
	failed int
}

// connect opens, asks, reads the answer and the far end's close, conns at a time.
func connect(addr string, conns int, d time.Duration) (*Result, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", addr, err)
	}
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	defer p.close()
	c := &dialer{poller: p, addr: a, state: map[int]*exchange{}, msg: make([]byte, requestSize), buf: make([]byte, 4096), w: newWindow(d), lat: make([]time.Duration, 0, 1<<18)}
	for range conns {
		if err := c.open(); err != nil {
			return nil, err
		}
	}
	for time.Now().Before(c.w.end) {
		for _, e := range c.wait(1000) {
			if err := c.event(int(e.Fd)); err != nil {
				return nil, err
			}
		}
	}
	for fd := range c.state {
		unix.Close(fd)
	}
	return latencies(c.lat, c.w, c.failed), nil
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
		if x.got += n; x.got == requestSize {
			if at := time.Now(); at.After(c.w.from) {
				c.lat = append(c.lat, at.Sub(x.sent))
			}
		}
		return nil
	}
	return c.next(fd, e != 0 || x.got != requestSize)
}

func (c *dialer) next(fd int, failed bool) error {
	if failed {
		c.failed++
	}
	delete(c.state, fd)
	unix.Close(fd)
	return c.open()
}

// bulk reads from conns sources as fast as they come.
func bulk(addr string, conns int, d time.Duration) (*Result, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", addr, err)
	}
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	defer p.close()
	var fds []int
	defer func() { closeAll(fds) }()
	for range conns {
		fd, err := dial(a)
		if err != nil {
			return nil, err
		}
		fds = append(fds, fd)
		if err := p.ctl(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			return nil, err
		}
	}
	buf := make([]byte, blobSize)
	w := newWindow(d)
	var total int64
	for now := w.start; now.Before(w.end); now = time.Now() {
		for _, e := range p.wait(1000) {
			n, errno := read(int(e.Fd), buf)
			if errno == syscall.EAGAIN {
				continue
			}
			if n <= 0 {
				return nil, fmt.Errorf("read from %s: connection ended: %w", addr, errno)
			}
			if now.After(w.from) {
				total += int64(n)
			}
		}
	}
	return &Result{Count: conns, Bytes: total, Gbps: float64(total) * 8 / w.seconds() / 1e9}, nil
}

// idle opens connections that have each carried one byte and holds them until in ends.
func idle(addr string, conns int, in io.Reader, out io.Writer) error {
	p, err := newPoller()
	if err != nil {
		return err
	}
	defer p.close()
	fds, err := warm(p, addr, conns, make([]byte, 1), make([]byte, 16))
	defer closeAll(fds)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "READY")
	_, err = io.Copy(io.Discard, in)
	return err
}
