package loop

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// budget is how many handshakes compute at once: half of the CPUs, so that many new peers leave the other
// half to live traffic. With each share comes a buffer.
type budget chan []byte

// talkSize is more than one end says in a handshake before it waits for the other.
const talkSize = 8 << 10

func newBudget() budget {
	b := make(budget, max(1, runtime.GOMAXPROCS(0)/2))
	for range cap(b) {
		b <- make([]byte, talkSize)
	}
	return b
}

// talk is a connection during its handshake. It has a share of the budget, and gives that back while it
// waits for the peer. What is written waits until then, so each flight is one system call and one packet;
// what has come is read at once, though crypto/tls asks for it in small pieces.
type talk struct {
	*socket
	raw    syscall.RawConn
	budget budget
	buf    []byte // nil while there is no share
	in     []byte // of buf: read, and not asked for yet
	out    []byte
}

func newTalk(s *socket, b budget) (*talk, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("use socket: %w", err)
	}
	return &talk{socket: s, raw: raw, budget: b, buf: <-b}, nil
}

// end gives the share back.
func (t *talk) end() { t.leave() }

// hurry ends a push that waits for the peer, from any goroutine.
func (t *talk) hurry() { _ = t.SetWriteDeadline(time.Unix(1, 0)) }

func (t *talk) leave() {
	if t.buf != nil {
		t.budget <- t.buf
		t.buf, t.in = nil, nil
	}
}

// rest is what the peer has sent after its handshake. It is the caller's.
func (t *talk) rest() []byte { return slices.Clone(t.in) }

// Write keeps b until it is time to wait for the peer.
func (t *talk) Write(b []byte) (int, error) {
	t.out = append(t.out, b...)
	return len(b), nil
}

// push sends what was kept; with MSG_MORE in flags, together with what is written next.
func (t *talk) push(flags int) error {
	for len(t.out) > 0 {
		var n int
		var errno unix.Errno
		err := t.raw.Write(func(fd uintptr) bool {
			n, errno = netsock.Send(int(fd), t.out, flags)
			return errno != unix.EAGAIN
		})
		if err == nil && errno != 0 {
			err = os.NewSyscallError("sendto", errno)
		}
		if err != nil {
			return err
		}
		t.out = t.out[n:]
	}
	return nil
}

// Read waits for the peer without a share, and for a new one.
func (t *talk) Read(b []byte) (int, error) {
	if len(t.in) == 0 {
		if err := t.push(0); err != nil {
			return 0, err
		}
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, t.in)
	t.in = t.in[n:]
	return n, nil
}

// fill reads what has come, at least something.
func (t *talk) fill() error {
	for {
		var n int
		var errno unix.Errno
		waited := false
		err := t.raw.Read(func(fd uintptr) bool {
			if waited {
				return true
			}
			if n, errno = poll.Read(int(fd), t.buf); errno == unix.EAGAIN {
				waited = true
				t.leave()
			}
			return !waited
		})
		switch {
		case err != nil:
			return err
		case waited:
			t.buf = <-t.budget
		case errno != 0:
			return os.NewSyscallError("read", errno)
		case n == 0:
			return io.EOF
		default:
			t.in = t.buf[:n]
			return nil
		}
	}
}
