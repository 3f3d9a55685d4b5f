package std

import (
	"github.com/ambitmesh/ambit/internal/hbone"
)

const (
	mostQueued   = 16 << 20 // of one connection, hbone's default
	leastQueued  = 256 << 10
	leastWindow  = 64 << 10
	normalWindow = 256 << 10
)

// queueConfig bounds what one more tunnel connection may queue: a quarter of the pod's budget for the
// first, less for each that follows, but always enough to work. boundQueues guards the sum.
func (p *pod) queueConfig() hbone.Config {
	cfg := hbone.Config{Now: p.e.Now}
	if p.Limits.Queued == 0 {
		return cfg
	}
	share := p.Limits.Queued / (4 * max(1, p.Usage.Tunnels.Load()))
	cfg.MaxBuffered = int(min(max(share, leastQueued), mostQueued))
	cfg.StreamWindow = min(max(cfg.MaxBuffered/16, leastWindow), normalWindow)
	return cfg
}

// queue is a tunnel connection of either end.
type queue interface {
	Buffered() int
	Close() error
}

// boundQueues counts what the pod's tunnels have queued; beyond its budget the connection with most is
// cut, and with it the readers that are too slow.
func (p *pod) boundQueues() {
	var sum, most int
	var worst queue
	add := func(q queue) {
		n := q.Buffered()
		if sum += n; n > most {
			most, worst = n, q
		}
	}
	for _, s := range p.allServers() {
		add(s.conn)
	}
	for _, c := range p.pool.list() {
		add(c.cc)
	}
	p.Usage.Queued.Store(int64(sum))
	if p.Limits.Queued == 0 || int64(sum) <= p.Limits.Queued || worst == nil {
		return
	}
	p.e.Log.Warn("cut the tunnel connection with the longest queue", "pod", p.UID, "queued", sum, "cut", most)
	go worst.Close()
}
