// Package relay is the benchmark's floor: a plain TCP relay on one epoll loop, with neither
// encryption nor framing nor policy. Two of them stand where a mesh has its two proxies.
package relay

import (
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const bufSize = 256 << 10

// leg is one socket of a relayed connection.
type leg struct {
	fd      int
	peer    *leg
	pending []byte // read from peer, not yet taken by fd
	eof     bool   // peer's end was seen: shut down after pending
	shut    bool
	dead    bool
	hup     bool // the end is in the queue: a short read is not the last
}

type loop struct {
	ep      int
	buf     []byte
	targets map[int]netip.AddrPort // listener to target
	legs    []*leg                 // by descriptor
}

// Run relays from each listener to its target until an error of the loop itself. listen and target
// pair up; both slices are only read.
func Run(listen, target []netip.AddrPort) error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("create epoll: %w", err)
	}
	l := &loop{ep: ep, buf: make([]byte, bufSize), targets: map[int]netip.AddrPort{}}
	for i, a := range listen {
		if err := l.listen(a, target[i]); err != nil {
			return err
		}
	}
	return l.run()
}

func (l *loop) run() error {
	ev := make([]unix.EpollEvent, 16)
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.ep), uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), ^uintptr(0), 0, 0)
		if e != 0 && e != syscall.EINTR {
			return fmt.Errorf("wait: %w", e)
		}
		for i := range int(n) {
			if e == 0 {
				l.event(int(ev[i].Fd), ev[i].Events)
			}
		}
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func socket(a netip.AddrPort) (int, error) {
	family := unix.AF_INET6
	if a.Addr().Is4() {
		family = unix.AF_INET
	}
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func (l *loop) listen(a, target netip.AddrPort) error {
	fd, err := socket(a)
	if err != nil {
		return fmt.Errorf("make listener %s: %w", a, err)
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
	l.targets[fd] = target
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// Edge triggered, one epoll_ctl for a descriptor's life.
const events = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

func (l *loop) add(fd int) (*leg, error) {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return nil, err
	}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events & 0xffffffff, Fd: int32(fd)}); err != nil {
		return nil, err
	}
	for len(l.legs) <= fd {
		l.legs = append(l.legs, nil)
	}
	l.legs[fd] = &leg{fd: fd}
	return l.legs[fd], nil
}

func (l *loop) accept(lfd int, target netip.AddrPort) {
	for {
		fd, _, err := unix.Accept4(lfd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if err := l.pair(fd, target); err != nil {
			unix.Close(fd)
		}
	}
}

func (l *loop) pair(fd int, target netip.AddrPort) error {
	up, err := socket(target)
	if err != nil {
		return err
	}
	if err := unix.Connect(up, sockaddr(target)); err != nil && err != unix.EINPROGRESS {
		unix.Close(up)
		return err
	}
	b, err := l.add(up)
	if err != nil {
		unix.Close(up)
		return err
	}
	a, err := l.add(fd)
	if err != nil {
		l.legs[up] = nil
		unix.Close(up)
		return err
	}
	a.peer, b.peer = b, a
	return nil
}

const (
	ended    = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	readable = unix.EPOLLIN | ended
)

// event costs one read and one write per message: nothing is read that cannot be there.
func (l *loop) event(fd int, events uint32) {
	if fd >= len(l.legs) || l.legs[fd] == nil {
		if t, ok := l.targets[fd]; ok {
			l.accept(fd, t)
		}
		return
	}
	g := l.legs[fd]
	g.hup = g.hup || events&ended != 0
	if events&unix.EPOLLOUT != 0 && (len(g.pending) > 0 || g.eof) {
		l.flush(g)
		l.pump(g.peer) // it waited until g took what was pending
	}
	if events&readable != 0 {
		l.pump(g)
	}
}

// pump moves what can be read from g to its peer.
func (l *loop) pump(g *leg) {
	p := g.peer
	for !g.dead && !p.dead && len(p.pending) == 0 && !p.eof {
		n, e := read(g.fd, l.buf)
		if e == syscall.EAGAIN {
			return
		}
		if e == syscall.ENOTCONN { // still connecting
			return
		}
		if e != 0 {
			l.end(g)
			return
		}
		if n == 0 {
			p.eof = true
			l.flush(p)
			return
		}
		w, e := write(p.fd, l.buf[:n])
		if e != 0 && e != syscall.EAGAIN && e != syscall.ENOTCONN {
			l.end(g)
			return
		}
		if e != 0 {
			w = 0
		}
		if w < n {
			p.pending = append(p.pending, l.buf[w:n]...)
		}
		if n < len(l.buf) && w == n && !g.hup {
			return
		}
	}
}

// flush writes what waits for g, then its end.
func (l *loop) flush(g *leg) {
	for len(g.pending) > 0 && !g.dead {
		w, e := write(g.fd, g.pending)
		if e == syscall.EAGAIN || e == syscall.ENOTCONN {
			return
		}
		if e != 0 {
			l.end(g)
			return
		}
		g.pending = g.pending[w:]
	}
	if len(g.pending) == 0 {
		g.pending = nil
	}
	if g.eof && !g.shut && !g.dead {
		g.shut = true
		unix.Shutdown(g.fd, unix.SHUT_WR)
		if g.peer.shut {
			l.end(g)
		}
	}
}

// end closes both legs.
func (l *loop) end(g *leg) {
	for _, x := range []*leg{g, g.peer} {
		if !x.dead {
			x.dead = true
			l.legs[x.fd] = nil
			unix.Close(x.fd)
		}
	}
}

func read(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), e
}

func write(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), e
}
