package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// counters is a family of counters by up to three label values, with idle ones dropped and a bound on
// how many there are.
type counters struct {
	name  string
	names []string
	now   func() time.Time
	idle  time.Duration
	max   int

	mu      sync.Mutex
	values  map[[3]string]*count // under mu
	dropped uint64               // under mu
}

type count struct {
	pairs []*dto.LabelPair
	n     uint64
	used  time.Time
}

// add counts one.
func (c *counters) add(values ...string) {
	var key [3]string
	copy(key[:], values)
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.values[key]
	if v == nil {
		v = c.room(key)
	}
	v.n++
	v.used = c.now()
}

// room returns a new counter, or if there are too many the one of unknowns; mu is held.
func (c *counters) room(key [3]string) *count {
	if len(c.values) >= c.max {
		c.dropped++
		for i := range c.names {
			key[i] = unknown
		}
		if v := c.values[key]; v != nil {
			return v
		}
	}
	v := &count{pairs: pairs(c.names, key[:len(c.names)])}
	c.values[key] = v
	return v
}

func (c *counters) collect(d map[string]*prometheus.Desc, ch chan<- prometheus.Metric) {
	for _, s := range c.samples(d[c.name]) {
		ch <- s
	}
}

func (c *counters) samples(d *prometheus.Desc) (out []*sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for key, v := range c.values {
		if now.Sub(v.used) >= c.idle {
			delete(c.values, key)
			continue
		}
		out = append(out, &sample{desc: d, labels: v.pairs, value: float64(v.n)})
	}
	return out
}

func (c *counters) overflow() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}
