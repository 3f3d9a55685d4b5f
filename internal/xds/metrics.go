package xds

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// metrics has Istio's names where Istio's proxy has them.
type metrics struct {
	messages, bytes, rejected, terminations *prometheus.CounterVec
	connected                               prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		messages:     counter("istio_xds_message_total", "Responses received from the controller.", "url"),
		bytes:        counter("istio_xds_message_bytes_total", "Bytes of responses received from the controller.", "url"),
		rejected:     counter("ambit_xds_rejected_resources_total", "Resources that were refused; the earlier version stays, or the policy stands.", "url"),
		terminations: counter("istio_xds_connection_terminations_total", "Streams to the controller that ended.", "reason"),
		connected:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "ambit_xds_connected", Help: "1 while the controller answers."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.messages, m.bytes, m.rejected, m.terminations, m.connected} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metric: %w", err)
		}
	}
	return m, nil
}

// received counts a response; types that were not asked for share one series.
func (m *metrics) received(resp *discovery.DeltaDiscoveryResponse) {
	t := resp.GetTypeUrl()
	switch t {
	case AddressType, AuthorizationType, CaptureType:
	default:
		t = "unknown"
	}
	m.messages.WithLabelValues(t).Inc()
	m.bytes.WithLabelValues(t).Add(float64(proto.Size(resp)))
}

func (m *metrics) ended(err error) {
	m.connected.Set(0)
	m.terminations.WithLabelValues(status.Code(err).String()).Inc()
}
