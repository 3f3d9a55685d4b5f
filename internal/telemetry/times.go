package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// times are the histograms.
type times struct {
	connect, firstByte, lifetime, rtt *prometheus.HistogramVec
	handshake                         prometheus.Histogram
	retransmits                       *prometheus.CounterVec
}

// Buckets, in seconds: a connect on the same node takes 50 us, a busy far one a second; a connection
// lives from a millisecond to a day.
func quick() []float64 { return prometheus.ExponentialBuckets(50e-6, 2.5, 14) }
func long() []float64  { return prometheus.ExponentialBuckets(1e-3, 5, 12) }

func newTimes() *times {
	vec := func(name, label string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: helpOf(name), Buckets: buckets}, []string{label})
	}
	return &times{
		connect:     vec(connectTime, "path", quick()),
		firstByte:   vec(firstByte, "direction", quick()),
		lifetime:    vec(lifetime, "direction", long()),
		rtt:         vec(rtt, "direction", quick()),
		handshake:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: handshake, Help: helpOf(handshake), Buckets: quick()}),
		retransmits: prometheus.NewCounterVec(prometheus.CounterOpts{Name: retransmits, Help: helpOf(retransmits)}, []string{"direction"}),
	}
}

func (t *times) collectors() []prometheus.Collector {
	return []prometheus.Collector{t.connect, t.firstByte, t.lifetime, t.rtt, t.handshake, t.retransmits}
}

func (t *times) has(name string) bool {
	switch name {
	case connectTime, firstByte, lifetime, rtt, handshake, retransmits:
		return true
	}
	return false
}

// Connect notes the time of a leg's TCP connect, path "tunnel", "plain" or "deliver", and of the TLS
// handshake on it. A time of 0 was not spent and is not noted.
func (t *Telemetry) Connect(path string, tcp, tls time.Duration) {
	if tcp > 0 {
		t.times.connect.WithLabelValues(path).Observe(tcp.Seconds())
	}
	if tls > 0 {
		t.times.handshake.Observe(tls.Seconds())
	}
}

// FirstByte notes the time from accept to the first byte back.
func (t *Telemetry) FirstByte(direction string, d time.Duration) {
	t.times.firstByte.WithLabelValues(direction).Observe(d.Seconds())
}

// Ended notes a connection's life, and if known the round-trip time and the segments sent again.
func (t *Telemetry) Ended(direction string, life, roundTrip time.Duration, again uint32) {
	t.times.lifetime.WithLabelValues(direction).Observe(life.Seconds())
	if roundTrip > 0 {
		t.times.rtt.WithLabelValues(direction).Observe(roundTrip.Seconds())
	}
	if again > 0 {
		t.times.retransmits.WithLabelValues(direction).Add(float64(again))
	}
}
