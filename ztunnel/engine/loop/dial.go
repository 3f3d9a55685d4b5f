package loop

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// dialing is the connect of a plain leg, or of one to an application.
type dialing struct {
	f     *flow
	p     *pod       // in whose namespace
	src   netip.Addr // another's address to connect from; invalid: the pod's own
	mark  uint32
	fd    int
	tries int // with another's address
	begun time.Time
	limit time.Time
}

// dial makes the leg of the current attempt.
func (f *flow) dial() {
	d := &f.rec.Attempt.Dial
	now := time.Now()
	g := &dialing{f: f, p: f.p, fd: -1, begun: now, limit: now.Add(f.patience())}
	if d.Action == engine.Deliver && !g.enter(d) {
		return
	}
	f.task.undo = g.abandon
	g.start()
}

// enter goes to the pod that the leg is to be made in, unless it is not served or about to go.
func (g *dialing) enter(d *engine.Dial) bool {
	f := g.f
	g.p = f.p
	if d.Pod != f.p.Pod {
		g.p = f.p.e.podOf(d.Pod)
	}
	if g.p == nil || !g.p.inside.Enter() {
		f.failed(&engine.DialError{Reason: reason.Unreachable, Err: errors.New("the destination pod is not served")})
		return false
	}
	f.dest.Store(g.p)
	if why := g.p.gone.Load(); why != nil {
		f.fail(why)
		return false
	}
	g.mark = g.p.Mark
	if src := d.Source.Unmap().WithZone(""); src.IsValid() && !g.p.Owns(src) && src.Is4() == d.To.Addr().Is4() {
		g.src = src
	}
	return true
}

// start begins to connect.
func (g *dialing) start() {
	var err error
	if g.src.IsValid() {
		err = g.connectAs()
	} else {
		err = g.connect()
	}
	w := g.f.w.Load()
	if err == nil {
		err = w.Add(g.fd, g)
	}
	if err != nil {
		g.failed(err)
		return
	}
	w.After(&g.f.task.timer, g.patience(), g.late)
}

// connect is from the pod's own address. No connection to there is judged until the leg is registered.
func (g *dialing) connect() error {
	f, d := g.f, &g.f.rec.Attempt.Dial
	fd, err := g.p.socket(f.w.Load(), netsock.FamilyOf(d.To.Addr()))
	if err != nil {
		return err
	}
	g.fd = fd
	t, err := f.p.e.legs.AddAfter(d.To, d.Action, func() (netip.AddrPort, error) {
		if err := netsock.SetMark(fd, g.mark); err != nil {
			return netip.AddrPort{}, err
		}
		if d.Action == engine.Deliver {
			_ = netsock.Unpace(fd) // else it is only slower
		}
		if err := netsock.StartConnect(fd, d.To); err != nil {
			return netip.AddrPort{}, err
		}
		local, errno := poll.LocalAddr(fd)
		if errno != 0 {
			return local, fmt.Errorf("ask for socket's address: %w", errno)
		}
		return local, nil
	})
	if err == nil {
		f.leg = f.p.e.legs.Key(t)
	}
	return err
}

// Ready learns how the connect has ended.
func (g *dialing) Ready(ev poll.Events) {
	switch {
	case !ev.Writable(): // a socket that connects is not
	case !ev.Failed():
		g.made(ev)
	default:
		_, err := netsock.Connected(g.fd)
		if err == nil {
			err = unix.ECONNRESET // made, and broken since
		}
		g.failed(fmt.Errorf("connect to %s: %w", g.f.rec.Attempt.Dial.To, err))
	}
}

// made hands the leg to the flow.
func (g *dialing) made(ev poll.Events) {
	f := g.f
	w := f.w.Load()
	w.Cancel(&f.task.timer)
	f.task.undo = nil
	f.rec.Attempt.Connected = f.took(g.begun)
	f.to.fd, f.to.added = int32(g.fd), true
	w.Hand(g.fd, &f.to)
	f.replay()
	f.carry(ev)
}

// late tries again from another port, or gives up.
func (g *dialing) late() {
	if g.src.IsValid() && g.tries < len(shortTries) && time.Until(g.limit) > 0 {
		g.close()
		g.tries++
		g.start()
		return
	}
	g.failed(fmt.Errorf("connect to %s: attempt took more than %s: %w", g.f.rec.Attempt.Dial.To, g.f.patience(), unix.ETIMEDOUT))
}

func (g *dialing) failed(err error) {
	f := g.f
	g.abandon()
	f.task.undo = nil
	f.rec.Attempt.Connected = f.took(g.begun)
	f.failed(outcome.DialError(err))
}

// abandon leaves nothing but the registered leg, which the flow forgets.
func (g *dialing) abandon() {
	g.f.w.Load().Cancel(&g.f.task.timer)
	g.close()
}

func (g *dialing) close() {
	if g.fd >= 0 {
		g.f.w.Load().Forget(g.fd, false)
		closeSocket(g.fd, true)
		g.fd = -1
	}
	if f := g.f; f.leg != 0 {
		f.p.e.legs.Drop(f.leg)
		f.leg = 0
	}
}

// took is how long something has taken, at least a nanosecond.
func (f *flow) took(since time.Time) time.Duration { return max(time.Since(since), 1) }
