package loop

import (
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

const (
	pipeSize  = 256 << 10 // bytes; an unprivileged process may ask for four times as much
	keepPipes = 8         // free ones of a worker
)

// pipe carries bulk between two sockets inside the kernel. It is lent: an idle flow holds none.
type pipe struct {
	r, w int
	n    int // bytes in it
}

// pipePool lends pipes. It is one worker's.
type pipePool struct{ free []*pipe }

// get returns an empty pipe, or nil if none can be made.
func (p *pipePool) get() *pipe {
	if k := len(p.free); k > 0 {
		x := p.free[k-1]
		p.free = p.free[:k-1]
		return x
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil
	}
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize) // a smaller one works, too
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes an empty pipe back.
func (p *pipePool) put(x *pipe) {
	if x.n == 0 && len(p.free) < keepPipes {
		p.free = append(p.free, x)
		return
	}
	p.discard(x)
}

func (p *pipePool) discard(x *pipe) {
	_ = unix.Close(x.r)
	_ = unix.Close(x.w)
}

func (p *pipePool) close() {
	for _, x := range p.free {
		p.discard(x)
	}
	p.free = nil
}

// splice moves one piece inside the kernel. False says that the flow has ended, or that there is nothing
// more to do now.
func (x *end) splice(w *worker, y *end) bool {
	p := w.pipes.get()
	if p == nil {
		x.bulk = false
		return true
	}
	n, errno := poll.Splice(int(x.fd), p.w, pipeSize)
	if errno != 0 || n == 0 {
		w.pipes.put(p)
	}
	switch {
	case errno == unix.EAGAIN:
		x.readable, x.bulk = false, false
		return false
	case errno == unix.EINVAL:
		x.bulk = false // not a socket that can
		return true
	case errno != 0:
		x.broken(errno)
		return false
	case n == 0:
		x.ended()
		return false
	}
	x.f.seen(y)
	p.n, y.pipe = n, p
	return y.flushPipe(w)
}

// flushPipe moves on what is in the pipe, and gives it back when it is empty. It reports false if the flow
// has ended.
func (x *end) flushPipe(w *worker) bool {
	for x.pipe != nil && !x.stuck {
		n, errno := poll.Splice(x.pipe.r, int(x.fd), x.pipe.n)
		switch {
		case errno == unix.EAGAIN:
			x.stuck = true
			return true
		case errno != 0:
			x.broken(errno)
			return false
		}
		x.f.count(x, n)
		if x.pipe.n -= n; x.pipe.n == 0 {
			w.pipes.put(x.pipe)
			x.pipe = nil
		}
	}
	return true
}
