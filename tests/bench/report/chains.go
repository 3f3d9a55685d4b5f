package report

import (
	"fmt"
	"strings"
)

// Names of the chains that others are divided by.
const (
	Direct = "direct" // no mesh, across nodes
	Floor  = "relays" // two plain relays
	Node   = "node"   // no mesh, on one node
)

// Peers are the chains of other proxies that are always there; their better one is the measure.
var Peers = []string{"nginx", "haproxy"}

// Rivals are the chains of proxies that are measured where the machine has them.
var Rivals = []string{"ztunnel", "linkerd2-proxy", "envoy"}

// Mesh is the chain of two ztunnels with an engine.
func Mesh(engine string) string { return "ambit-" + engine }

// base is the chain without a mesh that a chain is compared with.
func base(chain string) string {
	if chain == Node || strings.HasPrefix(chain, Node+"-") {
		return Node
	}
	return Direct
}

// More says whether more of a metric is better.
func More(metric string) bool {
	return metric == "rate" || metric == "throughput" || metric == "bulk meanwhile"
}

// Unsettled is the metric of memory 2 s after a start or a crowd's connections, before any of it is given back.
const Unsettled = "resident after 2 s"

// Added is the metric of what a configuration adds to memory.
const Added = "more than at rest"

// Idle names the workload of idle connections.
func Idle(conns int) string { return fmt.Sprintf("memory of both proxies, %d idle connections", conns) }

// Configured names the workload of a configuration.
func Configured(workloads, each int) string {
	return fmt.Sprintf("memory of both proxies, %d workloads, %d services and %d policies", workloads, each, each)
}

// What snapshots are full of, and what is measured with them.
const (
	Workloads     = "workloads"
	OtherPolicies = "policies of others"
	OwnPolicies   = "policies of the server"
	SizedPing     = ": ping-pong 1024 B, 1 connection"
	SizedConnect  = ": connect, request, close, 1 at once"
)

// Snapshot names the workload of a size.
func Snapshot(n int, what string) string { return fmt.Sprintf("snapshot of %d %s", n, what) }

// Names of connects that need a handshake. For other proxies the handshake is always a full one.
const (
	Cold    = "cold connect to a new peer"
	Resumed = ", resumed"
)
