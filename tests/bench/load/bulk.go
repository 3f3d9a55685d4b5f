package load

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bulk reads from conns sources as fast as they come.
func bulk(addr string, conns int, d time.Duration) (*Result, error) {
	return stream(addr, conns, d, unix.EPOLLIN, read)
}

// upload writes to conns sinks as fast as they take it.
func upload(addr string, conns int, d time.Duration) (*Result, error) {
	return stream(addr, conns, d, unix.EPOLLOUT, write)
}

func stream(addr string, conns int, d time.Duration, events uint32, move func(int, []byte) (int, syscall.Errno)) (*Result, error) {
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
	defer func() { resetAll(fds) }()
	for range conns {
		fd, err := dial(a)
		if err != nil {
			return nil, err
		}
		fds = append(fds, fd)
		if err := p.ctl(unix.EPOLL_CTL_ADD, fd, events); err != nil {
			return nil, err
		}
	}
	buf := make([]byte, blobSize)
	w := newWindow(d)
	var total int64
	for now := w.start; w.open(now); now = time.Now() {
		for _, e := range p.wait(1000) {
			n, errno := move(int(e.Fd), buf)
			if errno == syscall.EAGAIN {
				continue
			}
			if n <= 0 || errno != 0 {
				return nil, fmt.Errorf("stream with %s: connection ended: %w", addr, errno)
			}
			if w.counting {
				total += int64(n)
			}
		}
	}
	return w.volume(conns, total)
}

// resetAll ends streams at once: what waits in them must not use the next measurement's CPU time.
func resetAll(fds []int) {
	for _, fd := range fds {
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(fd)
	}
}

// send writes messages, one after another, and waits for no answer: the figure is the time of a write.
func send(addr string, size int, d time.Duration) (*Result, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", addr, err)
	}
	fd, err := dial(a)
	if err != nil {
		return nil, err
	}
	defer resetAll([]int{fd})
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, fmt.Errorf("make blocking: %w", err)
	}
	msg, lat, w := make([]byte, size), make([]time.Duration, 0, 1<<20), newWindow(d)
	for at := w.start; w.open(at); {
		n, errno := syscall.Write(fd, msg)
		if errno != nil || n != size {
			return nil, fmt.Errorf("send to %s: %d bytes: %w", addr, n, errno)
		}
		now := time.Now()
		if w.counting {
			lat = append(lat, now.Sub(at))
		}
		at = now
	}
	return w.latencies(lat, 0)
}

// visit asks each address once, one after another, on a connection of its own, and measures from
// connect to answer.
func visit(size int, addrs []string) (*Result, error) {
	msg, buf, lat := make([]byte, size), make([]byte, size), make([]time.Duration, 0, len(addrs))
	for _, addr := range addrs {
		a, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, fmt.Errorf("dial %q: %w", addr, err)
		}
		begin := time.Now()
		fd, err := dial(a)
		if err != nil {
			return nil, err
		}
		err = round(fd, msg, buf)
		lat = append(lat, time.Since(begin))
		unix.Close(fd)
		if err != nil {
			return nil, fmt.Errorf("visit %s: %w", addr, err)
		}
	}
	r := &Result{Count: len(lat)}
	r.percentiles(lat)
	return r, nil
}
