package std

import (
	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/reason"
)

const (
	mostQueued   = 16 << 20 // of one connection, hbone's default
	leastQueued  = 2 << 20
	leastWindow  = 64 << 10
	queuedToOpen = 128 // streams that nobody reads, so many may be open before they hold up the others
)

// queueConfig bounds what one more tunnel connection may queue: a quarter of the pod's budget for the
// first, less for each that follows, but always enough to work. boundQueues guards the sum.
func (p *pod) queueConfig() hbone.Config {
	cfg := hbone.Config{Now: p.e.opts.Now, MaxBuffered: mostQueued}
	if p.Limits.Queued > 0 {
		share := p.Limits.Queued / (4 * max(1, p.Usage.Tunnels.Load()))
		cfg.MaxBuffered = int(min(max(share, leastQueued), mostQueued))
	}
	cfg.StreamWindow = max(cfg.MaxBuffered/queuedToOpen, leastWindow)
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
	p.e.opts.Log.Warn("cut the tunnel connection with the longest queue", "pod", p.UID, "queued", sum, "cut", most)
	p.e.cutQueue(worst)
}

// cutQueue ends the flows that a connection carries, and the connection: its end alone would not wake
// one that waits for a slow reader.
func (e *Engine) cutQueue(q queue) {
	for _, f := range e.live.all() {
		if f.over == q {
			f.cancel(&outcome{reason: reason.Limit, detail: "the pod's tunnels have queued too much"})
		}
	}
	go q.Close()
}
