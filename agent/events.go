package agent

import (
	"errors"
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// events counts what happened, by name.
type events struct {
	mu sync.Mutex
	n  map[string]uint64
}

func newEvents() *events { return &events{n: map[string]uint64{}} }

func (e *events) add(name string, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n[name] += uint64(n)
}

func (e *events) counter(name string) func() { return func() { e.add(name, 1) } }

func (e *events) all() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.n)
}

var (
	eventDesc = prometheus.NewDesc("ambit_agent_events_total", "What the agent did and saw, by event.", []string{"event"}, nil)
	hookDesc  = prometheus.NewDesc("ambit_redirect_events_total", "What the kernel's hooks did, by event, since the pins were made.", []string{"event"}, nil)
	podDesc   = prometheus.NewDesc("ambit_agent_pods", "Pods of this node by state.", []string{"state"}, nil)
	flowDesc  = prometheus.NewDesc("ambit_attested_flows", "Attested flows in the kernel by kind.", []string{"kind"}, nil)
	proxyDesc = prometheus.NewDesc("ambit_agent_proxies", "Connected node proxies.", nil, nil)
)

// collector reads everything at scrape time.
type collector struct{ a *Agent }

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{eventDesc, hookDesc, podDesc, flowDesc, proxyDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, all map[string]uint64) {
		for name, n := range all {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), name)
		}
	}
	counter(eventDesc, c.a.events.all())
	hooks, err := c.a.mesh.Counters()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(hookDesc, err)
	}
	counter(hookDesc, hooks)
	states := map[Actual]int{}
	for _, p := range c.a.PodStatuses() {
		states[p.Actual]++
	}
	for s, n := range states {
		ch <- prometheus.MustNewConstMetric(podDesc, prometheus.GaugeValue, float64(n), string(s))
	}
	legs, probes, err := c.a.mesh.Flows()
	direct, derr := c.a.mesh.DirectLive()
	if err := errors.Join(err, derr); err != nil {
		ch <- prometheus.NewInvalidMetric(flowDesc, err)
	}
	ch <- prometheus.MustNewConstMetric(flowDesc, prometheus.GaugeValue, float64(legs), "leg")
	ch <- prometheus.MustNewConstMetric(flowDesc, prometheus.GaugeValue, float64(probes), "probe")
	ch <- prometheus.MustNewConstMetric(flowDesc, prometheus.GaugeValue, float64(direct), "direct")
	ch <- prometheus.MustNewConstMetric(proxyDesc, prometheus.GaugeValue, float64(len(c.a.proxies.list())))
}
