package telemetry

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric describes one metric for the reference.
type Metric struct {
	Name   string
	Type   string // counter, gauge, histogram
	Labels []string
	Help   string // one sentence
}

// Names of the metrics.
const (
	opened      = "istio_tcp_connections_opened_total"
	closed      = "istio_tcp_connections_closed_total"
	received    = "istio_tcp_received_bytes_total"
	sent        = "istio_tcp_sent_bytes_total"
	failed      = "istio_tcp_connections_failed_total"
	sockets     = "istio_tcp_sockets_open"
	refused     = "ambit_refused_total"
	policyHits  = "ambit_policy_hits_total"
	connectTime = "ambit_connect_seconds"
	handshake   = "ambit_handshake_seconds"
	firstByte   = "ambit_first_byte_seconds"
	lifetime    = "ambit_connection_seconds"
	rtt         = "ambit_tcp_rtt_seconds"
	retransmits = "ambit_tcp_retransmits_total"
	expiry      = "ambit_certificate_expiry_seconds"
	ejections   = "ambit_ejections_total"
	ejected     = "ambit_ejected"
	dropped     = "ambit_series_dropped_total"
	logDropped  = "ambit_access_log_dropped_total"
)

// Describe lists the metrics of this package by name.
func Describe() []Metric {
	traffic := func(name, help string) Metric { return Metric{name, "counter", trafficLabels, help} }
	list := []Metric{
		traffic(opened, "TCP connections that were opened."),
		traffic(closed, "TCP connections that have ended."),
		traffic(received, "Bytes from the connection's opener."),
		traffic(sent, "Bytes back to the connection's opener."),
		traffic(failed, "TCP connections that were refused, or ended early for a reason."),
		{sockets, "gauge", []string{"reporter"}, "TCP connections that are open."},
		{refused, "counter", []string{"direction", "reason"}, "Connections refused or ended early, by reason."},
		{policyHits, "counter", []string{"dry_run", "outcome", "policy"}, "Connections that an authorization policy decided (outcome allowed or refused); with dry_run true, that it would have refused."},
		{connectTime, "histogram", []string{"path"}, "Time of the TCP connect to the next hop."},
		{handshake, "histogram", nil, "Time of the TLS handshake with the destination's proxy."},
		{firstByte, "histogram", []string{"direction"}, "Time from accept to the first byte back."},
		{lifetime, "histogram", []string{"direction"}, "Time from accept to the end."},
		{rtt, "histogram", []string{"direction"}, "Smoothed round-trip time of the accepted leg at its end."},
		{retransmits, "counter", []string{"direction"}, "TCP segments that were sent again on accepted legs."},
		{expiry, "gauge", []string{"identity"}, "When the identity's certificate expires, in Unix time."},
		{ejections, "counter", []string{"service"}, "Endpoints ejected for all pods of the node."},
		{ejected, "gauge", []string{"service"}, "Endpoints that are ejected now."},
		{dropped, "counter", []string{"family"}, "Uses of a series for which there was no room; counted in a series of unknowns."},
		{logDropped, "counter", nil, "Lines of the access log for which there was no room."},
	}
	slices.SortFunc(list, func(a, b Metric) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list
}

// descs are the descriptions by name, as registered.
func descs() map[string]*prometheus.Desc {
	out := map[string]*prometheus.Desc{}
	for _, m := range Describe() {
		out[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return out
}

func helpOf(name string) string {
	for _, m := range Describe() {
		if m.Name == name {
			return m.Help
		}
	}
	return ""
}
