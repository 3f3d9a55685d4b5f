package std

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// dial makes one attempt and notes it in the record.
func (f *flow) dial(plan engine.Plan) (leg, *engine.DialError) {
	d := plan.Dial
	d.Action, d.To = plan.Action, netsock.Unmap(d.To)
	f.rec.Attempts++
	f.rec.Attempt = engine.Attempt{Dial: d}
	timeout := f.e.opts.Within(d)
	ctx, cancel := context.WithTimeoutCause(f.ctx, timeout, fmt.Errorf("attempt took more than %s: %w", timeout, unix.ETIMEDOUT))
	defer cancel()
	switch d.Action {
	case engine.Plain:
		return f.direct(ctx, f.p, d, false)
	case engine.Deliver:
		return f.deliver(ctx, d)
	case engine.Tunnel:
		return f.tunnel(ctx, d)
	}
	return nil, &engine.DialError{Reason: reason.Internal, Err: fmt.Errorf("plan asks for action %d", d.Action)}
}

// direct makes a plain leg, or one to an application without another's address.
func (f *flow) direct(ctx context.Context, p *pod, d engine.Dial, marked bool) (leg, *engine.DialError) {
	start := f.e.opts.Now()
	var mark uint32
	if marked {
		mark = p.Mark
	}
	l, err := f.e.connect(ctx, p, d, mark)
	f.rec.Attempt.Connected = f.e.opts.Now().Sub(start)
	if err != nil {
		return nil, outcome.DialError(err)
	}
	return l, nil
}

// connect makes a leg from the pod's own address.
func (e *Engine) connect(ctx context.Context, p *pod, d engine.Dial, mark uint32) (*tcpLeg, error) {
	fd, err := p.socket(netsock.FamilyOf(d.To.Addr()))
	if err != nil {
		return nil, err
	}
	t, err := e.legs.AddAfter(d.To, d.Action, func() (netip.AddrPort, error) {
		if err := netsock.SetMark(fd, mark); err != nil {
			return netip.AddrPort{}, err
		}
		if d.Action != engine.Plain {
			_ = netsock.Unpace(fd) // else it is only slower
		}
		if err := netsock.StartConnect(fd, d.To); err != nil {
			return netip.AddrPort{}, err
		}
		return netsock.LocalAddr(fd)
	})
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return e.finish(ctx, fd, t)
}

// finish waits for the connect, and makes the leg that forgets its tuple at its end.
func (e *Engine) finish(ctx context.Context, fd int, t legs.Tuple) (*tcpLeg, error) {
	var c *net.TCPConn
	c, err := netsock.FinishConnect(ctx, fd, t.Remote)
	if err != nil {
		e.legs.Remove(t)
		return nil, err
	}
	l := newTCPLeg(c)
	l.release = func() { e.legs.Remove(t) }
	return l, nil
}

// deliver makes the leg to the application of a pod, which may be another than the flow's.
func (f *flow) deliver(ctx context.Context, d engine.Dial) (leg, *engine.DialError) {
	p := f.e.podOf(d.Pod)
	if p == nil || !p.inside.Enter() {
		return nil, &engine.DialError{Reason: reason.Unreachable, Err: errors.New("the destination pod is not served")}
	}
	stop := context.AfterFunc(p.ctx, func() { f.cancel(context.Cause(p.ctx)) })
	l, err := f.deliverTo(ctx, p, d)
	if err != nil {
		stop()
		p.inside.Leave()
		return nil, err
	}
	l.release = joined(l.release, func() { stop(); p.inside.Leave() })
	return l, nil
}

func joined(a, b func()) func() { return func() { a(); b() } }

func (f *flow) deliverTo(ctx context.Context, p *pod, d engine.Dial) (*tcpLeg, *engine.DialError) {
	src := d.Source.Unmap().WithZone("")
	start := f.e.opts.Now()
	var l *tcpLeg
	var err error
	if src.IsValid() && !p.Owns(src) && src.Is4() == d.To.Addr().Is4() {
		l, err = f.e.connectAs(ctx, p, d, src)
	} else {
		l, err = f.e.connect(ctx, p, d, p.Mark)
	}
	f.rec.Attempt.Connected = f.e.opts.Now().Sub(start)
	if err != nil {
		return nil, outcome.DialError(err)
	}
	return l, nil
}
