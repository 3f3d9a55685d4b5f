package app

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a connection with what has been read ahead of it.
type conn struct {
	*net.TCPConn
	r *bufio.Reader
}

func timeout(d time.Duration) time.Duration {
	if d == 0 {
		return 10 * time.Second
	}
	return d
}

func dial(a DialArgs) (*conn, error) {
	x, err := dialTCP(a)
	if err != nil {
		return nil, err
	}
	return &conn{x, bufio.NewReader(x)}, nil
}

func dialTCP(a DialArgs) (*net.TCPConn, error) {
	if a.Mapped {
		return dialMapped(a)
	}
	d := net.Dialer{Timeout: timeout(a.Timeout), Control: a.control}
	d.SetMultipathTCP(a.MPTCP)
	if a.Local != "" {
		local := a.Local
		if _, err := netip.ParseAddr(local); err == nil {
			local = net.JoinHostPort(local, "0")
		}
		addr, err := net.ResolveTCPAddr("tcp", local)
		if err != nil {
			return nil, fmt.Errorf("local address: %w", err)
		}
		d.LocalAddr = addr
	}
	x, err := d.Dial("tcp", a.Address)
	if err != nil {
		return nil, err
	}
	return x.(*net.TCPConn), nil
}

func (a DialArgs) control(_, _ string, rc syscall.RawConn) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) { err = a.set(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

func (a DialArgs) set(fd int) error {
	if a.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, a.Mark); err != nil {
			return fmt.Errorf("mark: %w", err)
		}
	}
	if a.Device != "" {
		if err := unix.BindToDevice(fd, a.Device); err != nil {
			return fmt.Errorf("bind to device: %w", err)
		}
	}
	return nil
}

// dialMapped connects an IPv6 socket to an IPv4 address, which package net never does.
func dialMapped(a DialArgs) (*net.TCPConn, error) {
	to, err := netip.ParseAddrPort(a.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	if err := a.set(fd); err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(timeout(a.Timeout).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		return nil, fmt.Errorf("set timeout: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	x, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use socket: %w", err)
	}
	return x.(*net.TCPConn), nil
}

// Dial opens a connection that later calls use.
func (c *Control) Dial(a *DialArgs, out *Dialed) error {
	begin := time.Now()
	x, err := dial(*a)
	if err != nil {
		return err
	}
	*out = Dialed{Local: show(x.LocalAddr()), Remote: show(x.RemoteAddr()), Took: time.Since(begin)}
	out.ID = add(c, c.conns, x)
	return nil
}

// show copes with a connection that was reset before it could be asked.
func show(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// name is the last word of a banner.
func name(banner string) string {
	f := strings.Fields(banner)
	if len(f) == 0 {
		return ""
	}
	return f[len(f)-1]
}
