package loop

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/record"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// recordsSize is what one read of a carrier takes: a window, and the rest of a record.
const recordsSize = 256<<10 + record.MaxRecord

// read takes in what the peer has sent, one buffer of it; then others have their turn. Payloads are written
// to sockets from the buffer that they were decrypted in, so deliver comes before it is used again.
func (c *carrier) read() {
	if c.closed || c.mux.Err() != nil {
		return
	}
	b := c.w.ciphertext
	kept := copy(b, c.left)
	n, errno := poll.Read(c.fd, b[kept:])
	if errno == unix.EAGAIN {
		c.readable = false
		return
	}
	if errno != 0 || n == 0 {
		c.readable = false
		c.lost(readError(errno))
		return
	}
	c.moved += int64(n)
	c.readable = kept+n == len(b) || c.hup
	c.open(b[:kept+n])
	if c.closed {
		return
	}
	if c.readable && c.mux.Err() == nil {
		c.later()
	}
	c.mark()
}

// open opens the records in b, and keeps the start of the last one.
func (c *carrier) open(b []byte) {
	used, err := c.in.Open(b, c.text)
	c.w.deliver()
	if err != nil {
		c.refused(err)
		return
	}
	c.keep(b[used:])
}

func readError(errno unix.Errno) error {
	if errno == 0 {
		return io.EOF
	}
	return os.NewSyscallError("read", errno)
}

// refused ends the connection for what came: an error of the record layer, or of HTTP/2, which has
// answered it already.
func (c *carrier) refused(err error) {
	if c.mux.Err() == nil {
		c.lost(err)
	}
}

// keep holds on to the start of a record until the rest has come.
func (c *carrier) keep(rest []byte) {
	pool := &c.w.records
	if len(rest) == 0 {
		if c.left != nil {
			pool.Put(c.left[:cap(c.left)])
			c.left = nil
		}
		return
	}
	if c.left == nil {
		c.left = pool.Get(record.SmallBuffer)
	}
	c.left = append(c.left[:0], rest...)
}
