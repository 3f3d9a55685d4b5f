package agent

import (
	"context"
	"net/netip"
)

// World is what the agent reads of the cluster.
type World interface {
	// Watch calls changed with the whole view, first when it is complete, then after changes, never
	// twice at once, until ctx ends.
	Watch(ctx context.Context, changed func(View)) error
}

// View is the namespaces, PeerAuthentications and this node's pods at one moment. Immutable.
type View struct {
	Namespaces map[string]Namespace
	Pods       []Pod
	Peers      []Peer // of all namespaces
	Blind      bool   // Peers could not be read: any pod may be STRICT
}

// Namespace is what counts of a namespace.
type Namespace struct{ Labels, Annotations map[string]string }

// Pod is what counts of a pod of this node.
type Pod struct {
	UID, Namespace, Name string
	ServiceAccount       string
	Labels, Annotations  map[string]string
	Addresses            []netip.Addr // of each family the first counts
	HostNetwork          bool
	Finished             bool   // succeeded or failed: its processes are gone
	NetNS                string // file of the network namespace, "" while it is not known
	Cgroup               string // directory, "" if not known
	Sandbox              string // what its cgroups and CNI call it; "": the UID
	Partial              bool   // only the container runtime has told of it yet
}

// Labels and annotations of namespaces and pods. The two that name a pod's namespace and cgroup are for
// machines without Kubernetes, where whoever writes the objects is trusted with the node: a source whose
// objects others write must not pass them on.
const (
	labelMode              = "istio.io/dataplane-mode"
	annotationNetNS        = "ambit.dev/netns"
	annotationCgroup       = "ambit.dev/cgroup"
	annotationRedirection  = "ambient.istio.io/redirection" // written by us, of Istio's name
	annotationExclude      = "ambit.dev/exclude-inbound-ports"
	annotationAllowExclude = "ambit.dev/allow-exclude-inbound-ports"
)
