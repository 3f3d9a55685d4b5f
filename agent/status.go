package agent

import "time"

// Status is what the agent's admin socket answers to GET /status.
type Status struct {
	Version  string            `json:"version"`
	Instance string            `json:"instance"`
	Node     string            `json:"node"`
	Features []Feature         `json:"features"`
	Pods     []PodStatus       `json:"pods"`    // of this node, sorted by namespace and name
	Proxies  []ProxyStatus     `json:"proxies"` // newest first
	Probes   ProbeStatus       `json:"probes"`
	Counters map[string]uint64 `json:"counters"`
}

// Feature is one ability of the kernel or of the node that the agent tried.
type Feature struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"` // the agent refuses to start without it
	Detail   string `json:"detail"`   // what was found, or what is missing and what it is for
}

// Desired is what labels ask for a pod.
type Desired string

// The desires.
const (
	DesiredAmbient Desired = "ambient"
	DesiredNone    Desired = "none"
)

// Actual is where a pod stands between plain and enrolled.
type Actual string

// The states of a pod.
const (
	ActualPlain     Actual = "plain"     // nothing of ours is in the pod
	ActualWaiting   Actual = "waiting"   // should be enrolled and cannot yet; Why says what for
	ActualEnrolling Actual = "enrolling" // inbound is captured, the proxy has not acknowledged yet
	ActualEnrolled  Actual = "enrolled"
	ActualRetiring  Actual = "retiring" // outbound is off, inbound stays until the mesh knows
	ActualDraining  Actual = "draining" // nothing is captured any more, proxied connections live on
	ActualFailed    Actual = "failed"   // a step failed and is tried again; Why has the error
)

// PodStatus is one pod of this node.
type PodStatus struct {
	Namespace       string    `json:"namespace"`
	Name            string    `json:"name"`
	UID             string    `json:"uid"`
	Node            string    `json:"node"`
	Desired         Desired   `json:"desired"`
	Actual          Actual    `json:"actual"`
	Why             string    `json:"why"`
	Captured        bool      `json:"captured"`  // both ways, and a proxy has it
	Announced       bool      `json:"announced"` // the pod's object says that it is captured
	Addresses       []string  `json:"addresses"`
	ExcludedInbound []uint16  `json:"excludedInbound,omitempty"` // ports that reach the application uncaptured
	Notes           []string  `json:"notes,omitempty"`           // what was asked and is not honoured, and why
	Since           time.Time `json:"since"`                     // of Actual
}

// ProxyStatus is one ZDS session.
type ProxyStatus struct {
	PID      int       `json:"pid"`
	Cgroup   string    `json:"cgroup"`
	Instance string    `json:"instance"`
	Version  int       `json:"version"` // of ZDS
	Active   bool      `json:"active"`  // gets new pods; the others drain
	Build    string    `json:"build"`
	Since    time.Time `json:"since"`
}

// ProbeStatus says whose connections reach enrolled pods past the proxy.
type ProbeStatus struct {
	Mode   string `json:"mode"`   // "cgroup", "node" or "off"
	Cgroup string `json:"cgroup"` // path, with mode "cgroup"
	Detail string `json:"detail"`
}
