package loop

import (
	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/hbone/mux"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// end is one side of a flow.
type end struct {
	f    *flow
	st   *mux.Stream // the tunnel; nil: none
	c    *carrier    // of the tunnel
	pend chunks      // bytes for this side that it did not take
	pipe *pipe       // bytes for this side on their way; nil: none

	fd       int32 // the socket; -1: none
	added    bool  // to the worker's loop
	readable bool  // the last read did not say that there is no more
	hup      bool  // a short read does not say that there is no more: the end is behind it, or was urgent data
	bulk     bool  // the last read filled the buffer
	eof      bool  // the end was read
	stuck    bool  // the socket is full
	fin      bool  // the other side's end is to be passed on
	shut     bool  // it was
	again    bool  // it is to have another turn
}

func (x *end) other() *end {
	if x == &x.f.from {
		return &x.f.to
	}
	return &x.f.from
}

// name is the side in details.
func (x *end) name() string {
	if x == &x.f.from {
		return outcome.Opener
	}
	return outcome.Made
}

// gone is told that the tunnel is no more. If its peer had sent all it had, that is still delivered: only
// a side that goes on to send learns that nobody listens.
func (x *end) gone(err error) {
	if !x.eof {
		x.broken(err)
		return
	}
	x.f.lost = outcome.Broken(x.name(), err)
	if y := x.other(); y.readable {
		y.pump()
	}
}

// broken ends the flow by the failure of this side.
func (x *end) broken(err error) { x.f.fail(outcome.Broken(x.name(), err)) }

// Ready is told of the socket's events.
func (x *end) Ready(ev poll.Events) {
	if ev.Ended() || ev.Urgent() {
		x.hup = true
	}
	if ev.Writable() && x.stuck {
		x.stuck = false
		x.drain()
	}
	if x.f.ended {
		return
	}
	switch {
	case x.eof:
		if ev.Failed() {
			x.dead()
		}
	case ev.Readable():
		x.readable = true
		x.pump()
	}
}

// later has the pump go on in the next turn.
func (x *end) later() {
	if !x.again {
		x.again = true
		x.f.w.Load().Again(x)
	}
}

// dead ends the flow if the socket, which is not read any more, has failed.
func (x *end) dead() {
	if code, err := unix.GetsockoptInt(int(x.fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
		x.broken(unix.Errno(code))
	}
}

// Run goes on with a pump that was to let others have their turn.
func (x *end) Run() {
	x.again = false
	if !x.f.ended && x.readable && !x.eof {
		x.pump()
	}
}

// ended passes the end of this side on, once there is where to.
func (x *end) ended() {
	x.eof, x.readable = true, false
	y := x.other()
	y.fin = true
	if x.f.task == nil && !y.busy() {
		y.finish()
	}
}

// busy reports whether there is something that the side has not taken yet.
func (x *end) busy() bool { return x.stuck || !x.pend.empty() || x.pipe != nil }

// finish ends the flow if it was the last thing to do, or else half of it.
func (x *end) finish() {
	x.shut = true
	if x.st != nil {
		x.st.End()
		x.c.mark()
	}
	if x.other().shut {
		x.f.done()
		return
	}
	if x.fd >= 0 {
		if err := netsock.Shutdown(int(x.fd)); err != nil {
			x.broken(err)
		}
	}
}

// refuse closes the side of a flow that carried nothing.
func (x *end) refuse(o outcome.End) {
	if x.st == nil {
		x.close(true)
		return
	}
	status := o.Status
	if status == 0 {
		status = outcome.RefusalStatus(o.Reason)
	}
	_ = x.st.Respond(status)
	x.st.Close()
	x.leave()
}

// close ends the side in order, or by a reset.
func (x *end) close(reset bool) {
	w := x.f.w.Load()
	if w.delivery.to == x {
		w.delivery.drop()
	}
	w.chunks.drop(&x.pend)
	switch {
	case x.st != nil:
		if reset {
			x.st.Reset(http2.ErrCodeConnect) // RFC 9113 8.5, for a broken TCP connection
		}
		x.leave()
	case x.fd >= 0:
		x.closeSocket(w, reset)
	}
}

// leave forgets the tunnel.
func (x *end) leave() {
	x.st.SetUser(nil)
	x.c.mark()
	x.st = nil
}

func (x *end) closeSocket(w *worker, reset bool) {
	if x.added {
		w.Forget(int(x.fd), false)
	}
	if x == &x.f.from {
		info, over := readInfo(int(x.fd))
		reset = reset || over // which saves a system call
		x.f.mu.Lock()
		x.f.whole().TCPInfo = info
		x.f.mu.Unlock()
	}
	if x.pipe != nil {
		w.pipes.discard(x.pipe)
		x.pipe = nil
	}
	closeSocket(int(x.fd), reset)
	x.fd = -1
}
