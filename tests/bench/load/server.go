package load

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The far end's roles.
const (
	roleEcho = iota
	roleOnce
	roleSource
	roleSink
)

var roleNames = []string{"echo", "once", "source", "sink"}

const blobSize = 256 << 10

// server is the far end: every connection is echoed, answered once, written to or read from.
type server struct {
	*poller
	listeners map[int]int // descriptor to role
	role      map[int]int // connection to role
	buf, blob []byte
}

func serve(host string, roles []string) error {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", host, err)
	}
	p, err := newPoller()
	if err != nil {
		return err
	}
	s := &server{poller: p, listeners: map[int]int{}, role: map[int]int{}, buf: make([]byte, blobSize), blob: make([]byte, blobSize)}
	for _, r := range roles {
		name, port, _ := strings.Cut(r, ":")
		n, err := strconv.ParseUint(port, 10, 16)
		role := slices.Index(roleNames, name)
		if err != nil || role < 0 {
			return fmt.Errorf("listen: want role:port, got %q", r)
		}
		if err := s.listen(netip.AddrPortFrom(addr, uint16(n)), role); err != nil {
			return err
		}
	}
	for {
		for _, e := range s.wait(-1) {
			s.event(int(e.Fd))
		}
	}
}

func (s *server) listen(a netip.AddrPort, role int) error {
	fd, err := socket(a)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(fd, sockaddr(a)); err != nil {
		return fmt.Errorf("bind %s: %w", a, err)
	}
	if err := unix.Listen(fd, 16384); err != nil {
		return fmt.Errorf("listen on %s: %w", a, err)
	}
	s.listeners[fd] = role
	return s.ctl(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
}

func (s *server) event(fd int) {
	if role, ok := s.listeners[fd]; ok {
		s.accept(fd, role)
		return
	}
	var alive bool
	switch s.role[fd] {
	case roleSource:
		_, e := write(fd, s.blob)
		alive = e == 0 || e == syscall.EAGAIN
	case roleSink:
		n, e := read(fd, s.buf)
		alive = n > 0 || e == syscall.EAGAIN
	default:
		alive = s.echo(fd)
	}
	if !alive {
		delete(s.role, fd)
		unix.Close(fd)
	}
}

func (s *server) accept(l, role int) {
	for {
		fd, _, err := unix.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		events := uint32(unix.EPOLLIN)
		if role == roleSource {
			events = unix.EPOLLOUT
		}
		if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil || s.ctl(unix.EPOLL_CTL_ADD, fd, events) != nil {
			unix.Close(fd)
			continue
		}
		s.role[fd] = role
	}
}

// echo writes back what one read gives; false ends the connection.
func (s *server) echo(fd int) bool {
	n, e := read(fd, s.buf)
	if e == syscall.EAGAIN {
		return true
	}
	if n <= 0 || e != 0 {
		return false
	}
	for b := s.buf[:n]; len(b) > 0; {
		w, e := write(fd, b)
		if e != 0 && e != syscall.EAGAIN {
			return false
		}
		if e == 0 {
			b = b[w:]
		}
	}
	return s.role[fd] != roleOnce
}
