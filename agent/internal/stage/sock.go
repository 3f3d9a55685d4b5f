package stage

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial says how a client connects.
type Dial struct {
	To          string // ip:port
	From        string // "": any; ip or ip:port
	Mapped      bool   // an IPv6 socket for an IPv4 address
	MPTCP       bool
	Device      string
	Mark        int
	Transparent bool
	Timeout     time.Duration // 0: 30 s
	Silent      bool          // expect no banner
}

func (d Dial) socket() (fd int, to netip.AddrPort, err error) {
	to, err = netip.ParseAddrPort(d.To)
	if err != nil {
		return -1, to, err
	}
	fam, proto := unix.AF_INET, 0
	if to.Addr().Is6() || d.Mapped {
		fam = unix.AF_INET6
	}
	if d.MPTCP {
		proto = unix.IPPROTO_MPTCP
	}
	fd, err = unix.Socket(fam, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, to, fmt.Errorf("socket: %w", err)
	}
	if err := d.prepare(fd, fam); err != nil {
		unix.Close(fd)
		return -1, to, err
	}
	return fd, to, nil
}

func (d Dial) prepare(fd, fam int) error {
	if d.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, d.Mark); err != nil {
			return fmt.Errorf("mark: %w", err)
		}
	}
	if d.Device != "" {
		if err := unix.BindToDevice(fd, d.Device); err != nil {
			return fmt.Errorf("device: %w", err)
		}
	}
	if d.Transparent {
		level, opt := unix.SOL_IP, unix.IP_TRANSPARENT
		if fam == unix.AF_INET6 {
			level, opt = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
		}
		if err := unix.SetsockoptInt(fd, level, opt, 1); err != nil {
			return fmt.Errorf("transparent: %w", err)
		}
	}
	if d.From == "" {
		return nil
	}
	from, err := netip.ParseAddrPort(d.From)
	if err != nil {
		a, err := netip.ParseAddr(d.From)
		if err != nil {
			return err
		}
		from = netip.AddrPortFrom(a, 0)
	}
	if err := unix.Bind(fd, sockaddr(from, fam)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// connect makes the connection in the calling thread's namespace.
func (d Dial) connect() (*net.TCPConn, error) {
	fd, to, err := d.socket()
	if err != nil {
		return nil, err
	}
	return d.dialOn(fd, to)
}

// finish waits for the handshake and takes fd over.
func (d Dial) finish(fd int, err error) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	if err == unix.EINPROGRESS {
		err = connected(fd, d.timeout())
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if c.RemoteAddr() == nil || c.LocalAddr() == nil { // reset already
		c.Close()
		return nil, fmt.Errorf("connect, then: %w", unix.ECONNRESET)
	}
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(os.ErrInvalid, c.Close())
	}
	return tc, nil
}

func (d Dial) timeout() time.Duration {
	if d.Timeout == 0 {
		return 30 * time.Second
	}
	return d.Timeout
}

func connected(fd int, limit time.Duration) error {
	end := time.Now().Add(limit)
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(p, max(0, int(time.Until(end).Milliseconds())))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return unix.ETIMEDOUT
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return err
		}
		if code != 0 {
			return unix.Errno(code)
		}
		return nil
	}
}

func sockaddr(a netip.AddrPort, fam int) unix.Sockaddr {
	if fam == unix.AF_INET {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

var errInUse = unix.EADDRINUSE

// dialOn connects a socket made before, and takes it over.
func (d Dial) dialOn(fd int, to netip.AddrPort) (*net.TCPConn, error) {
	fam, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return d.finish(fd, unix.Connect(fd, sockaddr(to, fam)))
}
