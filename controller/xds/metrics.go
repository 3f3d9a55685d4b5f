package xds

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

type metrics struct {
	responses, bytes, nacks *prometheus.CounterVec
	refused, held           prometheus.Counter
	latency                 *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, s *Server) (*metrics, error) {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"url"})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		responses: vec("ambit_xds_responses_total", "Responses sent to proxies."),
		bytes:     vec("ambit_xds_response_bytes_total", "Bytes of responses sent to proxies."),
		nacks:     vec("ambit_xds_nacks_total", "Responses of which a proxy refused something."),
		refused:   counter("ambit_xds_refused_streams_total", "Streams refused: the caller is neither a node nor the proxy of one."),
		held:      counter("ambit_xds_stale_holds_total", "First answers held because this controller was behind what the proxy had seen."),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ambit_xds_acknowledge_seconds",
			Help: "From a response to its acknowledgement.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9)}, []string{"url"}),
	}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	for _, c := range []prometheus.Collector{m.responses, m.bytes, m.nacks, m.refused, m.held, m.latency,
		gauge("ambit_xds_streams", "Connected proxies.", func() float64 { return float64(len(s.open())) }),
		gauge("ambit_xds_workloads_and_services", "Resources of type Address.", func() float64 { return float64(s.cfg.Cache.Len(AddressType)) }),
		gauge("ambit_xds_policies", "Resources of type Authorization.", func() float64 { return float64(s.cfg.Cache.Len(AuthorizationType)) }),
		gauge("ambit_xds_captured_pods", "Pods announced as captured.", func() float64 { return float64(s.cfg.Captures.Captured()) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metric: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) sent(resp *discovery.DeltaDiscoveryResponse) {
	m.responses.WithLabelValues(resp.GetTypeUrl()).Inc()
	m.bytes.WithLabelValues(resp.GetTypeUrl()).Add(float64(proto.Size(resp)))
}

func (m *metrics) acked(typeURL string, after time.Duration, refused bool) {
	m.latency.WithLabelValues(typeURL).Observe(after.Seconds())
	if refused {
		m.nacks.WithLabelValues(typeURL).Inc()
	}
}
