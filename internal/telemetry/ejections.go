package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/internal/balance"
)

// ejectionLog follows what the balancer ejects.
type ejectionLog struct {
	counters *counters

	mu    sync.Mutex
	until map[[2]string]time.Time // service, workload; under mu
}

func newEjectionLog(o Options) *ejectionLog {
	return &ejectionLog{counters: o.counters(ejections, "service"), until: map[[2]string]time.Time{}}
}

// Ejected counts an ejection; with Restored it makes Telemetry a balance.Observer.
func (t *Telemetry) Ejected(s balance.EndpointState) {
	t.ejects.counters.add(s.Service)
	t.ejects.mu.Lock()
	defer t.ejects.mu.Unlock()
	if len(t.ejects.until) < t.opts.MaxSeries {
		t.ejects.until[[2]string{s.Service, s.Workload}] = s.Until
	}
}

// Restored notes the end of an ejection.
func (t *Telemetry) Restored(s balance.EndpointState) {
	t.ejects.mu.Lock()
	defer t.ejects.mu.Unlock()
	delete(t.ejects.until, [2]string{s.Service, s.Workload})
}

func (e *ejectionLog) collect(d map[string]*prometheus.Desc, ch chan<- prometheus.Metric) {
	e.counters.collect(d, ch)
	for service, n := range e.ejected() {
		ch <- &sample{desc: d[ejected], labels: pairs([]string{"service"}, []string{service}), value: float64(n), gauge: true}
	}
}

// ejected counts by service. An ejection also ends by itself when its time is over: the balancer
// restores an endpoint only when it looks at it again, and never one that has gone.
func (e *ejectionLog) ejected() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, n := e.counters.now(), map[string]int{}
	for key, until := range e.until {
		if now.Before(until) {
			n[key[0]]++
		} else {
			delete(e.until, key)
		}
	}
	return n
}
