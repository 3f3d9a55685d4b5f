package loop

import (
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// pumpMost is how many bytes one side moves before others have their turn.
const pumpMost = 256 << 10

// carry relays, once the Decider has agreed a last time. ev is what the leg is ready for.
func (f *flow) carry(ev poll.Events) {
	if f.why.Load() != nil {
		f.stop()
		return
	}
	if why, ok := f.establish(); !ok {
		f.refuse(outcome.End{Reason: why})
		return
	}
	header := f.task.header
	f.dropEarly()
	f.task = nil
	if s := f.from.st; s != nil {
		if err := s.Respond(200, header...); err != nil {
			f.from.broken(err)
			return
		}
		f.from.c.mark()
	}
	if err := f.listen(); err != nil {
		f.fail(&outcome.End{Reason: reason.Internal, Detail: err.Error()})
		return
	}
	f.to.drain()
	if !f.ended {
		f.to.Ready(ev)
	}
}

// pump moves what can be read to the other side, as far as that takes it.
func (x *end) pump() {
	y := x.other()
	w := x.f.w.Load()
	switch {
	case x.f.lost != nil:
		x.pumpAway(w)
		return
	case y.st != nil:
		y.st.Want()
		y.c.mark()
		return
	case x.f.task != nil:
		return // there is no leg yet, or not again
	}
	for moved := 0; moved < pumpMost; {
		if !x.readable || y.busy() {
			return
		}
		var ok bool
		if x.bulk {
			ok, moved = x.splice(w, y), moved+pipeSize
		} else {
			ok, moved = x.pass(w, y), moved+scratchSize
		}
		if !ok {
			return
		}
	}
	if x.readable {
		x.later()
	}
}

// pumpAway waits for the end of a side whose tunnel takes nothing more.
func (x *end) pumpAway(w *worker) {
	n, errno := poll.Read(int(x.fd), w.scratch)
	switch {
	case errno == unix.EAGAIN:
		x.readable = false
	case errno != 0:
		x.broken(errno)
	case n == 0:
		x.ended()
	default:
		x.f.fail(x.f.lost)
	}
}

// pass moves one piece by read and write. False says that the flow has ended, or that there is nothing
// more to do now.
func (x *end) pass(w *worker, y *end) bool {
	n, errno := poll.Read(int(x.fd), w.scratch)
	switch {
	case errno == unix.EAGAIN:
		x.readable = false
		return false
	case errno != 0:
		x.broken(errno)
		return false
	case n == 0:
		x.ended()
		return false
	}
	x.bulk = n == len(w.scratch)
	x.readable = x.bulk || x.hup
	return y.take(w, w.scratch[:n])
}

// take writes b, and keeps what the socket does not take. False says that the flow has ended.
func (x *end) take(w *worker, b []byte) bool {
	x.f.seen(x)
	n, errno := poll.Write(int(x.fd), b)
	if errno != 0 && errno != unix.EAGAIN {
		x.broken(errno)
		return false
	}
	x.f.count(x, n)
	if n < len(b) {
		x.stuck = true
		w.chunks.push(&x.pend, b[n:])
	}
	return true
}

// drain writes what waits for the socket, which is writable again, and lets the other side go on.
func (x *end) drain() {
	if x.fd < 0 {
		if y := x.other(); x.fin && !x.busy() && !x.shut {
			x.finish()
		} else if y.readable {
			y.pump()
		}
		return
	}
	w := x.f.w.Load()
	if !x.flushPipe(w) || !x.flushChunks(w) || x.stuck {
		return
	}
	if x.fin {
		if !x.shut {
			x.finish()
		}
		return
	}
	if y := x.other(); y.readable {
		y.pump()
	}
}

// flushChunks reports false if the flow has ended.
func (x *end) flushChunks(w *worker) bool {
	for !x.pend.empty() && !x.stuck {
		x.f.seen(x)
		iov := x.pend.iovec(w.iov[:0])
		n, errno := poll.Writev(int(x.fd), iov)
		switch {
		case errno == unix.EAGAIN:
			x.stuck = true
			return true
		case errno != 0:
			x.broken(errno)
			return false
		}
		w.chunks.consume(&x.pend, n)
		x.f.count(x, n)
	}
	return true
}

// seen notes the first byte on its way to a side.
func (f *flow) seen(to *end) {
	if !f.first && to == &f.from {
		f.answered()
	}
}

// count notes bytes that a side took, and gives the tunnel that they came from credit.
func (f *flow) count(to *end, n int) {
	if s := to.other().st; s != nil && n > 0 {
		s.Consumed(n)
		to.other().c.mark()
	}
	if to == &f.from {
		f.bytes.Received.Add(uint64(n))
	} else {
		f.bytes.Sent.Add(uint64(n))
	}
}
