package certs

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"
)

var failuresDesc = prometheus.NewDesc("ambit_certificate_failures", "Requests in a row that have failed for an identity.", []string{"identity"}, nil)

type metrics struct {
	requests *prometheus.CounterVec
	m        *Manager
}

func newMetrics(reg prometheus.Registerer, m *Manager) (*metrics, error) {
	x := &metrics{m: m, requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ambit_certificate_requests_total", Help: "Requests for pods' certificates by gRPC code of the answer.",
	}, []string{"code"})}
	if reg == nil {
		return x, nil
	}
	for _, c := range []prometheus.Collector{x.requests, x} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of certificates: %w", err)
		}
	}
	return x, nil
}

func (x *metrics) asked(err error) { x.requests.WithLabelValues(status.Code(err).String()).Inc() }

// Describe implements prometheus.Collector.
func (x *metrics) Describe(ch chan<- *prometheus.Desc) { ch <- failuresDesc }

// Collect implements prometheus.Collector: identities come and go with pods, and so do their series.
func (x *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range x.m.List() {
		ch <- prometheus.MustNewConstMetric(failuresDesc, prometheus.GaugeValue, float64(c.Fails), c.Identity)
	}
}
