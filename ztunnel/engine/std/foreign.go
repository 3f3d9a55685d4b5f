package std

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

// connectAs makes a leg with the client's address. The application is on this node, so a SYN that stays
// unanswered for long has probably met a real connection of the client's with the same ports: the first
// tries are short, and each is from another port.
func (e *Engine) connectAs(ctx context.Context, p *pod, d engine.Dial, src netip.Addr) (*tcpLeg, error) {
	for _, patience := range []time.Duration{time.Second, 2 * time.Second} {
		short, cancel := context.WithTimeoutCause(ctx, patience, unix.ETIMEDOUT)
		l, err := e.tryAs(short, p, d, src)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, unix.ETIMEDOUT) {
			return l, err
		}
	}
	return e.tryAs(ctx, p, d, src)
}

// tryAs tries ports until one is free.
func (e *Engine) tryAs(ctx context.Context, p *pod, d engine.Dial, src netip.Addr) (*tcpLeg, error) {
	var err error
	for try := range legs.Tries {
		t := legs.Tuple{Local: netip.AddrPortFrom(src, e.port(try)), Remote: d.To}
		if !e.legs.Add(t, d.Action) {
			err = fmt.Errorf("bind to %s: %w", t.Local, unix.EADDRINUSE)
			continue
		}
		var fd int
		if fd, err = e.startAs(p, t); err == nil {
			return e.finish(ctx, fd, t)
		}
		e.legs.Remove(t)
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return nil, err
		}
	}
	return nil, err
}

func (e *Engine) startAs(p *pod, t legs.Tuple) (int, error) {
	fd, err := p.socket(netsock.FamilyOf(t.Remote.Addr()))
	if err != nil {
		return -1, err
	}
	if err = netsock.SetMark(fd, p.Mark); err == nil {
		if err = netsock.BindForeign(fd, t.Local); err == nil {
			_ = netsock.Unpace(fd) // else it is only slower
			err = netsock.StartConnect(fd, t.Remote)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
