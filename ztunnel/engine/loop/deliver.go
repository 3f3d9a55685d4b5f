package loop

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// delivery is payloads for one socket, still in the buffer that they were decrypted in.
type delivery struct {
	to  *end // nil: none
	iov []unix.Iovec
	n   int // bytes
}

// gather adds a payload for a socket to the delivery, after the one for another is done.
func (w *worker) gather(to *end, p []byte) {
	d := &w.delivery
	if d.to != to || len(d.iov) == cap(d.iov) {
		w.deliver()
	}
	if to.f.ended {
		return // by the delivery; its stream has taken the bytes back
	}
	d.to = to
	v := unix.Iovec{Base: unsafe.SliceData(p)}
	v.SetLen(len(p))
	d.iov = append(d.iov, v)
	d.n += len(p)
}

// deliver writes what was gathered. What the socket does not take is kept; its tunnel gets credit only for
// what it has taken.
func (w *worker) deliver() {
	d := &w.delivery
	x, total := d.to, d.n
	if x == nil {
		return
	}
	d.to, d.n = nil, 0
	n, ok := 0, true
	if x.fd >= 0 && x.f.task == nil && !x.busy() {
		w.Woke()
		n, ok = x.writeAll(d.iov)
	}
	if ok && n < total {
		w.keep(x, d.iov, n)
	}
	clear(d.iov)
	d.iov = d.iov[:0]
}

// drop forgets what was gathered: the socket is closed.
func (d *delivery) drop() {
	clear(d.iov)
	d.to, d.n, d.iov = nil, 0, d.iov[:0]
}

// writeAll reports false if the flow has ended.
func (x *end) writeAll(iov []unix.Iovec) (n int, ok bool) {
	x.f.seen(x)
	var errno unix.Errno
	if len(iov) == 1 {
		n, errno = poll.Write(int(x.fd), bytesOf(iov[0]))
	} else {
		n, errno = poll.Writev(int(x.fd), iov)
	}
	if errno != 0 && errno != unix.EAGAIN {
		x.broken(errno)
		return 0, false
	}
	x.f.count(x, n)
	return n, true
}

// keep copies all but the first skip bytes.
func (w *worker) keep(x *end, iov []unix.Iovec, skip int) {
	x.stuck = x.fd >= 0 && x.f.task == nil
	for _, v := range iov {
		b := bytesOf(v)
		k := min(skip, len(b))
		skip -= k
		w.chunks.push(&x.pend, b[k:])
	}
}

func bytesOf(v unix.Iovec) []byte { return unsafe.Slice(v.Base, v.Len) }
