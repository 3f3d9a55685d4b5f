package loop

import (
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/hbone/h2"
	"github.com/ambitmesh/ambit/internal/hbone/mux"
	"github.com/ambitmesh/ambit/internal/record"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

const (
	slots    = 4       // records that one read of bulk fills
	readRoom = 4 << 10 // the least that is read at once, in bytes
)

// socket is the end of a tunneled flow that is no tunnel.
func (f *flow) socket() *end {
	if f.from.st != nil {
		return &f.to
	}
	return &f.from
}

// send has the flow's turn: its socket is read straight into records, for at most so many bytes.
func (f *flow) send(s *mux.Stream, most int) {
	x := f.socket()
	y := x.other()
	switch {
	case !y.pend.empty():
		y.sendPending(s, most)
	case !x.readable || f.early(most) == 0:
		return
	case x.bulk && f.task == nil && most >= slots*h2.MaxData:
		x.sendBulk(s, y.c)
	default:
		x.sendPiece(s, y.c, f.early(most))
	}
	if !f.ended && (x.readable || !y.pend.empty()) {
		s.Want()
	}
}

// sendPending sends what was kept for the tunnel, and the end if that was all.
func (x *end) sendPending(s *mux.Stream, most int) {
	w := x.f.w.Load()
	b := x.pend.first()
	n := s.Write(b[:min(len(b), most)])
	w.chunks.consume(&x.pend, n)
	x.f.count(x, n)
	if x.f.task == nil && x.pend.empty() && x.fin && !x.shut {
		x.finish()
	}
}

// sendPiece reads into the rest of the open record.
func (x *end) sendPiece(s *mux.Stream, c *carrier, most int) {
	b := c.out.Space(h2.FrameHeader + min(most, readRoom))
	want := min(len(b)-h2.FrameHeader, most, h2.MaxData)
	n, errno := poll.Read(int(x.fd), b[h2.FrameHeader:h2.FrameHeader+want])
	if errno == 0 && n > 0 {
		x.f.keepEarly(b[h2.FrameHeader : h2.FrameHeader+n])
		s.PutHeader(b, n, false)
		c.out.Advance(h2.FrameHeader + n)
	}
	x.sent(n, want, errno)
}

// sendBulk reads into several records at once.
func (x *end) sendBulk(s *mux.Stream, c *carrier) {
	w := c.w
	w.slots = c.out.Slots(w.slots[:0], slots, h2.FrameHeader)
	iov := w.iov[:0]
	for _, b := range w.slots {
		iov = append(iov, unix.Iovec{Base: &b[0]})
		iov[len(iov)-1].SetLen(len(b))
	}
	n, errno := poll.Readv(int(x.fd), iov)
	if errno == 0 && n > 0 {
		c.out.Filled(n, h2.FrameHeader, s)
	}
	x.sent(n, slots*(record.MaxText-h2.FrameHeader), errno)
}

// sent notes what a read into a tunnel has told.
func (x *end) sent(n, want int, errno unix.Errno) {
	switch {
	case errno == unix.EAGAIN:
		x.readable, x.bulk = false, false
	case errno != 0:
		x.broken(errno)
	case n == 0:
		x.ended()
	default:
		if x.other() == &x.f.from {
			x.f.seen(&x.f.from)
		}
		x.f.count(x.other(), n)
		if n > readRoom {
			x.f.w.Load().Woke() // who writes so much may have waited for room
		}
		x.readable = n == want || x.hup
		x.bulk = n == want || x.bulk && n >= want/2
	}
}
