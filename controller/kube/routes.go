package kube

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/types"
)

const (
	noRoute     = "%s has no gateways and waypoints: nothing listens for this route, and traffic goes as if it were not there"
	noMeshRoute = "%s has no waypoints, which a route of a service needs: traffic goes to the service at layer 4, as if this route were not there"
	noUDP       = "%s does not carry UDP: it passes the mesh by, as if this route were not there"
)

// backends says which Gateways of ours routes would lead to a Service.
type backends map[types.NamespacedName]map[types.NamespacedName]bool

func (b backends) add(service, gateway types.NamespacedName) {
	if b[service] == nil {
		b[service] = map[types.NamespacedName]bool{}
	}
	b[service][gateway] = true
}

// routes judges every parent of every route that is a Gateway of ours or the mesh. Each kind is tried, even
// if another cannot be listed; what is then returned is not complete.
func (l *look) routes(ctx context.Context, our parents) (backends, error) {
	used := backends{}
	var failed error
	for _, kind := range routeKinds {
		all, err := l.list(ctx, kind)
		failed = errors.Join(failed, err)
		for _, x := range all {
			l.enter(ctx, x, parentEntries, l.route(x, our, used))
		}
	}
	return used, failed
}

// route returns what is said of a route's parents, and notes where it leads.
func (l *look) route(x object, our parents, used backends) (out []entry) {
	for _, ref := range objectsIn(x.Object, "spec", "parentRefs") {
		e := entry{ref: ref, key: referenceIn(ref, gatewayIn(x.GetNamespace())), verdict: verdict{"False", notSupported, l.says(noRoute)}}
		gateway, ours := our.gateway(e.key)
		switch {
		case ours:
			for _, service := range servicesOf(x) {
				used.add(service, gateway)
			}
		case !e.key.isMesh():
			continue
		case x.GetKind() == "UDPRoute":
			e.message = l.says(noUDP)
		default:
			e.message = l.says(noMeshRoute)
		}
		out = append(out, e)
	}
	return out
}

// servicesOf are the Services that a route leads to.
func servicesOf(x object) (out []types.NamespacedName) {
	for _, rule := range objectsIn(x.Object, "spec", "rules") {
		for _, ref := range objectsIn(rule, "backendRefs") {
			if r := referenceIn(ref, serviceIn(x.GetNamespace())); r.isService() {
				out = append(out, types.NamespacedName{Namespace: r.namespace, Name: r.name})
			}
		}
	}
	return out
}
