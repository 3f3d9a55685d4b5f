package kube

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

const noBackendTLS = "%s has no gateways: this one connects to no backend, with TLS or without"

// policies judges the BackendTLSPolicies of Services that Gateways of ours would call.
func (l *look) policies(ctx context.Context, used backends) error {
	all, err := l.list(ctx, tlsPolicies)
	for _, x := range all {
		l.enter(ctx, x, ancestorEntries, l.policy(x, used))
	}
	return err
}

// policy returns what is said of a policy: an entry for each Gateway, always in the same order.
func (l *look) policy(x object, used backends) (out []entry) {
	for _, ref := range objectsIn(x.Object, "spec", "targetRefs") {
		r := referenceIn(ref, reference{namespace: x.GetNamespace()})
		if !r.isService() {
			continue
		}
		for _, gateway := range slices.SortedFunc(maps.Keys(used[types.NamespacedName{Namespace: r.namespace, Name: r.name}]), byName) {
			ref := map[string]any{"group": gatewayGroup, "kind": "Gateway", "namespace": gateway.Namespace, "name": gateway.Name}
			out = append(out, entry{ref, referenceIn(ref, reference{}), verdict{"False", notSupported, l.says(noBackendTLS)}})
		}
	}
	return out
}

func byName(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
