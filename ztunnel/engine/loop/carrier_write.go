package loop

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// enough is how many bytes are gathered for one write.
const enough = 192 << 10

// Flush sends what this turn has gathered, and what the tunnels' sockets have to send, about one write of
// it; then others have their turn.
func (c *carrier) Flush() {
	c.dirty = false
	if c.closed {
		return
	}
	more := c.gather()
	if !c.write() {
		return
	}
	if more && !c.stuck {
		c.later()
	}
	if c.out.Release(); c.mux.Err() != nil {
		c.finish()
	}
	if !c.closed {
		c.note()
	}
}

// gather gives tunnels their turn until there is enough to write. True says that there may be more.
func (c *carrier) gather() bool {
	for c.out.Buffered() < enough {
		s, most := c.mux.Turn()
		if s == nil {
			return false
		}
		if f, ok := s.User().(*flow); ok && !f.ended {
			f.send(s, most)
		}
	}
	return true
}

// write sends what is sealed. It reports false if the connection has broken.
func (c *carrier) write() bool {
	c.out.Seal()
	for !c.stuck {
		b := c.out.Pending()
		if len(b) == 0 {
			return true
		}
		n, errno := poll.Write(c.fd, b)
		switch {
		case errno == unix.EAGAIN:
			c.stuck = true
		case errno != 0:
			c.unwritable(os.NewSyscallError("write", errno))
			return false
		default:
			c.moved += int64(n)
			c.w.Asked()
			c.out.Sent(n)
			c.mux.Sent(n)
		}
	}
	return true
}

// unwritable reads what the peer may have said before it went.
func (c *carrier) unwritable(why error) {
	c.stuck = true
	if c.mux.Err() == nil {
		c.readable = true
		c.read()
	}
	c.lost(why)
}

// finish closes a connection that has ended once its last frames are written, or soon.
func (c *carrier) finish() {
	if !c.ending {
		c.ending = true
		c.out.CloseNotify()
		if !c.write() {
			return
		}
		c.w.After(&c.grace, closeGrace, c.close)
	}
	if len(c.out.Pending()) == 0 {
		c.close()
	}
}
