package std

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Ports of legs with the client's address lie outside the ephemeral range of clients (32768-60999), so
// that they hardly ever meet the client's own connections to the same application, and above those that
// applications like to listen on. Where they run out, for one client and one application that open and
// close fast, any port will do.
const (
	lowPorts, lowFrom   = 32768 - 16384, 16384
	highPorts, highFrom = 65536 - 61000, 61000
	allPorts, allFrom   = 65536 - 1024, 1024

	portTries   = 64 // of ports that are taken
	choosyTries = 32 // the first of them
)

func foreignPort(try int) uint16 {
	if try >= choosyTries {
		return uint16(allFrom + rand.IntN(allPorts))
	}
	n := rand.IntN(lowPorts + highPorts)
	if n < lowPorts {
		return uint16(lowFrom + n)
	}
	return uint16(highFrom + n - lowPorts)
}

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
	for try := range portTries {
		t := tuple{netip.AddrPortFrom(src, e.port(try)), d.To}
		if !e.legs.add(t, d.Action) {
			err = fmt.Errorf("bind to %s: %w", t.local, unix.EADDRINUSE)
			continue
		}
		var fd int
		if fd, err = e.startAs(p, t); err == nil {
			return e.finish(ctx, fd, t)
		}
		e.legs.remove(t)
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return nil, err
		}
	}
	return nil, err
}

func (e *Engine) startAs(p *pod, t tuple) (int, error) {
	fd, err := p.socket(familyOf(t.remote.Addr()))
	if err != nil {
		return -1, err
	}
	if err = setMark(fd, p.Mark); err == nil {
		if err = bindForeign(fd, t.local); err == nil {
			err = startConnect(fd, t.remote)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
