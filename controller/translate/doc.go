// Package translate turns Kubernetes and Istio objects into what the proxies need: workloads,
// services and policies. Nothing here does I/O: the same objects always give the same messages.
//
// A change costs what depends on it: a Mesh keeps the objects indexed, notes what a change makes
// stale and translates only that.
package translate

// Options are the mesh's own names.
type Options struct {
	ClusterID     string // "" = Kubernetes
	TrustDomain   string // "" = cluster.local
	RootNamespace string // where policies are for the whole mesh; "" = ambit-system
}

// Defaults of the wire format: they are left out of messages.
const (
	defaultCluster     = "Kubernetes"
	defaultTrustDomain = "cluster.local"
	defaultAccount     = "default"
	domainSuffix       = "svc.cluster.local"
)

func (o *Options) fill() {
	for _, d := range []struct {
		field *string
		value string
	}{{&o.ClusterID, defaultCluster}, {&o.TrustDomain, defaultTrustDomain}, {&o.RootNamespace, "ambit-system"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
}

// UID returns the name of a pod's workload.
func (o Options) UID(namespace, name string) string {
	o.fill()
	return o.ClusterID + "//Pod/" + namespace + "/" + name
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
