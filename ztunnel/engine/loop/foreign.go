package loop

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine/internal/legs"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

// shortTries are how long the first tries with the client's address may take. The application is on this
// node, so a SYN that stays unanswered for long has probably met a real connection of the client's with
// the same ports: each try is from another port.
var shortTries = [...]time.Duration{time.Second, 2 * time.Second}

// patience is how long the current try may take.
func (g *dialing) patience() time.Duration {
	left := time.Until(g.limit)
	if g.src.IsValid() && g.tries < len(shortTries) {
		return min(left, shortTries[g.tries])
	}
	return left
}

// connectAs is from the client's address and a port that is free.
func (g *dialing) connectAs() error {
	f, d := g.f, &g.f.rec.Attempt.Dial
	var err error
	for try := range legs.Tries {
		t := legs.Tuple{Local: netip.AddrPortFrom(g.src, f.p.e.port(try)), Remote: d.To}
		if !f.p.e.legs.Add(t, d.Action) {
			err = fmt.Errorf("bind to %s: %w", t.Local, unix.EADDRINUSE)
			continue
		}
		f.leg = f.p.e.legs.Key(t)
		if err = g.startAs(t); err == nil {
			return nil
		}
		g.close()
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
	}
	return err
}

func (g *dialing) startAs(t legs.Tuple) (err error) {
	g.fd, err = g.p.socket(g.f.w.Load(), netsock.FamilyOf(t.Remote.Addr()))
	if err != nil {
		g.fd = -1
		return err
	}
	if err = netsock.SetMark(g.fd, g.mark); err == nil {
		if err = netsock.BindForeign(g.fd, t.Local); err == nil {
			_ = netsock.Unpace(g.fd) // else it is only slower
			err = netsock.StartConnect(g.fd, t.Remote)
		}
	}
	return err
}
