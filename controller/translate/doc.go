// Package translate turns Kubernetes and Istio objects into what the proxies need: workloads,
// services and policies. Nothing here does I/O: the same objects always give the same messages.
//
// A change costs what depends on it: a Mesh keeps the objects indexed, notes what a change makes
// stale and translates only that.
package translate

import "cmp"

// Options are the mesh's own names.
type Options struct {
	ClusterID     string // "" = Kubernetes
	TrustDomain   string // "" = cluster.local
	RootNamespace string // where policies are for the whole mesh; "" = ambit-system
}

// The defaults. Those of the wire format are left out of messages.
const (
	defaultCluster     = "Kubernetes"
	defaultTrustDomain = "cluster.local"
	defaultAccount     = "default"
	defaultRoot        = "ambit-system"
	domainSuffix       = "svc.cluster.local"
)

// filled returns the options with their defaults.
func (o Options) filled() Options {
	return Options{
		ClusterID:     cmp.Or(o.ClusterID, defaultCluster),
		TrustDomain:   cmp.Or(o.TrustDomain, defaultTrustDomain),
		RootNamespace: cmp.Or(o.RootNamespace, defaultRoot),
	}
}

// UID returns the name of a pod's workload.
func (o Options) UID(namespace, name string) string {
	return o.filled().ClusterID + "//Pod/" + namespace + "/" + name
}

// Hostname returns a service's host name.
func Hostname(namespace, name string) string {
	return name + "." + namespace + "." + domainSuffix
}

// ServiceKey returns the resource name of a service.
func ServiceKey(namespace, name string) string {
	return namespace + "/" + Hostname(namespace, name)
}

func elide(value, def string) string {
	if value == def {
		return ""
	}
	return value
}
