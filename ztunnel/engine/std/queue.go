package std

import (
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

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
			f.cancel(&outcome.End{Reason: reason.Limit, Detail: "the pod's tunnels have queued too much"})
		}
	}
	go q.Close()
}
