// Package sockdiag looks at and ends TCP connections of a network namespace by netlink (sock_diag).
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/netns"
)

// Numbers of the kernel's linux/sock_diag.h and linux/inet_diag.h.
const (
	byFamily  = 20 // SOCK_DIAG_BY_FAMILY
	destroy   = 21 // SOCK_DESTROY
	sizeofReq = 56 // struct inet_diag_req_v2
	infoExt   = 2  // INET_DIAG_INFO
)

// live are the states of connections: not CLOSE, TIME_WAIT, LISTEN nor half-open ones.
const live = 1<<unix.BPF_TCP_ESTABLISHED | 1<<unix.BPF_TCP_SYN_SENT | 1<<unix.BPF_TCP_FIN_WAIT1 | 1<<unix.BPF_TCP_FIN_WAIT2 |
	1<<unix.BPF_TCP_CLOSE_WAIT | 1<<unix.BPF_TCP_LAST_ACK | 1<<unix.BPF_TCP_CLOSING

// Conn is a netlink socket of one namespace, which it keeps alive. Not for concurrent use.
type Conn struct {
	fd  int
	seq uint32
	buf []byte
}

// Open makes one.
func Open(ns *netns.NS) (*Conn, error) {
	c := &Conn{fd: -1}
	err := ns.Do(func() (err error) {
		c.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return nil, errors.Join(fmt.Errorf("open sock_diag: %w", err), c.Close())
	}
	return c, nil
}

// Close lets go of the namespace.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Destroy ends the connection with these addresses, both sides of it hear a reset. It says whether there
// was one. The kernel's own lookup by addresses falls back to listeners, and to what BPF gives for one; so the
// connection is looked up first, and then ended by its cookie.
func (c *Conn) Destroy(from, to netip.AddrPort) (found bool, err error) {
	var cookie [8]byte
	req := request(from, to)
	err = c.do(byFamily, 0, req, func(b []byte) {
		if s, ok := parse(b); ok && s.From == from && s.To == to && 1<<s.State&live != 0 {
			found = true
			copy(cookie[:], b[44:52])
		}
	})
	if err == nil && found {
		copy(req[48:], cookie[:])
		err = c.do(destroy, unix.NLM_F_ACK, req, func([]byte) {})
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESTALE): // it has ended by itself
		return false, nil
	case err != nil:
		return false, fmt.Errorf("destroy connection %s to %s: %w", from, to, err)
	}
	return found, nil
}

// do makes one request that is answered by one message.
func (c *Conn) do(kind, flags uint16, body []byte, f func(body []byte)) error {
	if err := c.send(kind, flags, body); err != nil {
		return err
	}
	return c.answers(flags == 0, f)
}

// Each calls f for every connection.
func (c *Conn) Each(f func(Socket)) error {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		req := make([]byte, sizeofReq)
		req[0], req[1], req[2] = family, unix.IPPROTO_TCP, 1<<(infoExt-1)
		binary.NativeEndian.PutUint32(req[4:], live)
		if err := c.send(byFamily, unix.NLM_F_DUMP, req); err != nil {
			return fmt.Errorf("list connections: %w", err)
		}
		err := c.answers(false, func(b []byte) {
			if s, ok := parse(b); ok {
				f(s)
			}
		})
		if err != nil {
			return fmt.Errorf("list connections: %w", err)
		}
	}
	return nil
}

func request(from, to netip.AddrPort) []byte {
	b := make([]byte, sizeofReq)
	b[0], b[1], b[2] = unix.AF_INET, unix.IPPROTO_TCP, 1<<(infoExt-1)
	binary.NativeEndian.PutUint32(b[4:], live)
	if from.Addr().Is6() {
		b[0] = unix.AF_INET6
	}
	binary.BigEndian.PutUint16(b[8:], from.Port())
	binary.BigEndian.PutUint16(b[10:], to.Port())
	copy(b[12:28], from.Addr().AsSlice())
	copy(b[28:44], to.Addr().AsSlice())
	for i := 48; i < 56; i++ {
		b[i] = 0xff // no cookie
	}
	return b
}

func (c *Conn) send(kind, flags uint16, body []byte) error {
	c.seq++
	b := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(body))
	binary.NativeEndian.PutUint32(b, uint32(unix.NLMSG_HDRLEN+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(b[8:], c.seq)
	return unix.Sendto(c.fd, append(b, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// answers reads until the answer to the last request is over, which may be with the first message. What is
// left of earlier requests is passed over.
func (c *Conn) answers(first bool, f func(body []byte)) error {
	if c.buf == nil {
		c.buf = make([]byte, 1<<15)
	}
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, 0)
		if err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return os.NewSyscallError("recvfrom", err)
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			continue // not the kernel
		}
		some := false
		done, err := c.packet(c.buf[:n], func(b []byte) { some = true; f(b) })
		if done || err != nil || first && some {
			return err
		}
	}
}

func (c *Conn) packet(b []byte, f func(body []byte)) (done bool, err error) {
	for len(b) >= unix.NLMSG_HDRLEN {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return true, errors.New("netlink message cut short")
		}
		kind, seq, body := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[unix.NLMSG_HDRLEN:size]
		b = b[min(len(b), (size+3)&^3):]
		if seq != c.seq {
			continue
		}
		switch kind {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return true, errors.New("netlink error cut short")
			}
			if e := int32(binary.NativeEndian.Uint32(body)); e != 0 {
				return true, unix.Errno(-e)
			}
			return true, nil
		case byFamily:
			f(body)
		}
	}
	return false, nil
}
