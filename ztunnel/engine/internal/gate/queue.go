package gate

import (
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

const (
	mostQueued   = 32 << 20 // of one connection
	leastQueued  = 2 << 20
	leastWindow  = 64 << 10
	queuedToOpen = 128 // streams that nobody reads, so many may be open before they hold up the others
)

// mostTunnels is how many tunnels one connection takes, from either end: not so many that those that nobody reads
// hold up the others.
const mostTunnels = queuedToOpen - 8

// Queue bounds what one more tunnel connection of the pod may queue: half of the pod's budget for the
// first, less for each that follows, but always enough to work. The engine guards the sum.
func Queue(p *engine.Pod, now func() time.Time) hbone.Config {
	cfg := hbone.Config{Now: now, MaxBuffered: mostQueued, MaxStreams: mostTunnels}
	if p.Limits.Queued > 0 {
		share := p.Limits.Queued / (2 * max(1, p.Usage.Tunnels.Load()))
		cfg.MaxBuffered = int(min(max(share, leastQueued), mostQueued))
	}
	cfg.StreamWindow = max(cfg.MaxBuffered/queuedToOpen, leastWindow)
	return cfg
}
