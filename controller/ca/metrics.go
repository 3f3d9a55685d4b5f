package ca

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct{ issued, refused *prometheus.CounterVec }

func newMetrics(reg prometheus.Registerer, ca *CA) (*metrics, error) {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		issued:  vec("ambit_ca_issued_total", "Certificates issued: to a node that joined, for a pod, or renewed by its owner.", "kind"),
		refused: vec("ambit_ca_refused_total", "Requests for certificates that were refused.", "why"),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.issued, m.refused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "ambit_ca_root_expiry_timestamp_seconds", Help: "When the first of the roots ends, in seconds since 1970."}, ca.firstExpiry),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "ambit_ca_roots", Help: "Roots in the trust bundle; more than one during a rotation."}, func() float64 { return float64(len(ca.Roots())) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metric: %w", err)
		}
	}
	return m, nil
}

func (c *CA) firstExpiry() float64 {
	i := c.current()
	_, to := i.life()
	for _, r := range i.roots {
		to = earlier(to, r.NotAfter)
	}
	return float64(to.Unix())
}
