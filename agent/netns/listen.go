package netns

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/bpf"
)

// backlog is how many connections wait for a proxy that is away; the kernel lowers it to the
// namespace's net.core.somaxconn.
const backlog = 4096

// Listener is one of a pod's listening sockets.
type Listener struct {
	Kind bpf.Kind
	V6   bool
	// FD is a bare descriptor: os.File's Fd would make the socket blocking, for the proxy too. -1: none.
	FD int
}

// Order is the order of listeners on the wire (zds.proto, ListenerSet).
func Order(v6 bool) []Listener {
	var out []Listener
	for _, k := range bpf.Kinds() {
		out = append(out, Listener{Kind: k, FD: -1})
		if v6 {
			out = append(out, Listener{Kind: k, V6: true, FD: -1})
		}
	}
	return out
}

// Listen makes the pod's listeners. They are plain TCP (a sockmap takes no MPTCP), non-blocking and
// transparent: accepted sockets keep the address that the peer dialled. The ports do not matter.
func (ns *NS) Listen(v6 bool) ([]Listener, error) {
	set := Order(v6)
	err := ns.Do(func() error {
		for i := range set {
			fd, err := listen(set[i].V6)
			if err != nil {
				return err
			}
			set[i].FD = fd
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, CloseAll(set))
	}
	return set, nil
}

// CloseAll closes a set's descriptors.
func CloseAll(set []Listener) error {
	var errs []error
	for i := range set {
		if set[i].FD >= 0 {
			errs = append(errs, unix.Close(set[i].FD))
			set[i].FD = -1
		}
	}
	return errors.Join(errs...)
}

func listen(v6 bool) (int, error) {
	fam, level, opt := unix.AF_INET, unix.SOL_IP, unix.IP_TRANSPARENT
	var sa unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if v6 {
		fam, level, opt = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_TRANSPARENT
		sa = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	}
	fd, err := unix.Socket(fam, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("open listener: %w", err)
	}
	err = unix.SetsockoptInt(fd, level, opt, 1)
	if err == nil {
		// What it accepts has the application's port. Without this the application could not listen again, as
		// it can when the connections are its own.
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil && v6 {
		err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("make listener: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// IsListener says whether fd is a listening TCP socket of this namespace: what a proxy returns is checked.
func (ns *NS) IsListener(fd int) bool {
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || on != 1 {
		return false
	}
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || proto != unix.IPPROTO_TCP {
		return false
	}
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return err == nil && c == ns.Cookie
}

// ResetQueue accepts and resets what waits in a listener's queue, at most limit connections.
func ResetQueue(listener, limit int) (n int, err error) {
	for n < limit {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return n, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return n, fmt.Errorf("accept to reset: %w", err)
		}
		n++
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		if err = errors.Join(err, unix.Close(fd)); err != nil {
			return n, fmt.Errorf("reset: %w", err)
		}
	}
	return n, nil
}
