package telemetry

import (
	"bytes"
	"fmt"
	"strings"
)

const referenceHead = `## ambit-ztunnel: connections

Names and labels that start with ` + "`istio_`" + ` are Istio's, so its dashboards and Kiali work unchanged.

* As with Istio, *sent* in a metric is what went back to the connection's opener, *received* what came
  from it. In the access log ` + "`bytes_sent`" + ` is what the opener sent.
* ` + "`connection_security_policy`" + ` is ` + "`mutual_tls`" + ` where the bytes crossed the network in TLS, else
  ` + "`unknown`" + `. Between two enrolled pods of one node there is no TLS: identities are known and policy is
  enforced, and the value is ` + "`unknown`" + `. Such a connection counts for both reporters.
* ` + "`response_flags`" + `: ` + "`-`" + `, ` + "`DENY`" + `, ` + "`CONNECT`" + `, ` + "`TLS_FAILURE`" + `, ` + "`H2_HANDSHAKE_FAILURE`" + `, ` + "`NETWORK_POLICY`" + `
  (timeout on port 15008), ` + "`IDENTITY_ERROR`" + `. The exact cause is the reason in ` + "`ambit_refused_total`" + ` and in the log.
* A value that is not known is ` + "`unknown`" + `; a region or zone that is not known is empty.
* A series goes 15 minutes after its last use. There are at most 20,000 label sets of a family; what
  finds no room is counted in one series of unknowns and in ` + "`ambit_series_dropped_total`" + `.

| Metric | Type | Labels | |
|---|---|---|---|
`

// Reference returns the part of the reference that lists the metrics, in Markdown.
func Reference() []byte {
	var out bytes.Buffer
	out.WriteString(referenceHead)
	for _, m := range Describe() {
		labels := strings.Join(m.Labels, "`, `")
		switch {
		case isTraffic(m):
			labels = "see below"
		case labels != "":
			labels = "`" + labels + "`"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, labels, m.Help)
	}
	fmt.Fprintf(&out, "\nLabels of the `istio_tcp_*_total` series: `%s`.\n", strings.Join(trafficLabels, "`, `"))
	return out.Bytes()
}

func isTraffic(m Metric) bool { return len(m.Labels) == len(trafficLabels) }
