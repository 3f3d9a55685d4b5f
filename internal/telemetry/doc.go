// Package telemetry counts and logs connections. Metric names and labels are Istio's
// (istio_tcp_*), so that its dashboards and Kiali work; ours beyond them start with ambit_.
//
// Choices that readers of the numbers should know:
//   - As with Istio, "sent" in a metric is what went back to the connection's opener and "received"
//     what came from it. In the access log bytes_sent is what the opener sent.
//   - connection_security_policy is mutual_tls where the bytes crossed the network in TLS, else
//     unknown. A hand-over between two pods of one node is unknown: both identities are known, but
//     there is no TLS between a process and itself.
//   - Istio's proxies add region and zone only where they are known. Here the labels are always there
//     and empty where unknown, which Prometheus holds to be the same.
//   - A refused connection counts as failed, not as opened; one that is ended early as opened, closed
//     and failed.
//   - A series that nobody used for a while goes, and there is a bound on how many there are. What
//     finds no room is counted in one series of unknowns, so that sums stay right.
package telemetry
