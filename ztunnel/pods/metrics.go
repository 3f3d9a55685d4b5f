package pods

import "github.com/prometheus/client_golang/prometheus"

var podsDesc = prometheus.NewDesc("ambit_pods", "Pods that this proxy serves, by state.", []string{"state"}, nil)

// collector counts at scrape time.
type collector struct{ r *Registry }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- podsDesc }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	n := map[string]int{"serving": 0, "retiring": 0, "unclaimed": 0}
	c.r.mu.Lock()
	for _, e := range c.r.pods {
		n[c.r.state(e)]++
	}
	c.r.mu.Unlock()
	for state, v := range n {
		ch <- prometheus.MustNewConstMetric(podsDesc, prometheus.GaugeValue, float64(v), state)
	}
}
