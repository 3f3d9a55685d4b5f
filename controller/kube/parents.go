package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// parents are what a route may be attached to that is ours.
type parents struct {
	gateways map[types.NamespacedName]bool
	sets     map[types.NamespacedName]types.NamespacedName // the Gateway of a ListenerSet
}

// gateway returns the Gateway of ours that a parentRef leads to.
func (p parents) gateway(r reference) (types.NamespacedName, bool) {
	name := types.NamespacedName{Namespace: r.namespace, Name: r.name}
	switch {
	case r.group != gatewayGroup:
	case r.kind == "Gateway":
		return name, p.gateways[name]
	case r.kind == "ListenerSet":
		gateway, ok := p.sets[name]
		return gateway, ok
	}
	return name, false
}

// parents judges the Gateways of these classes, and their ListenerSets.
func (l *look) parents(ctx context.Context, classes map[string]bool) (parents, error) {
	our := parents{map[types.NamespacedName]bool{}, map[types.NamespacedName]types.NamespacedName{}}
	all, err := l.list(ctx, gateways)
	if err != nil {
		return our, err
	}
	v := verdict{"False", notSupported, l.says(noGateways)}
	for _, x := range all {
		class, _, err := unstructured.NestedString(x.Object, "spec", "gatewayClassName")
		if err == nil && classes[class] {
			our.gateways[nameOf(x)] = true
			l.judge(ctx, x, condition{"Accepted", v}, condition{"Programmed", v})
		}
	}
	sets, err := l.list(ctx, listenerSets)
	for _, x := range sets {
		ref, ok, err := unstructured.NestedMap(x.Object, "spec", "parentRef")
		if gateway, ours := our.gateway(referenceIn(ref, gatewayIn(x.GetNamespace()))); ok && ours && err == nil {
			our.sets[nameOf(x)] = gateway
			l.judge(ctx, x, condition{"Accepted", verdict{"False", "ParentNotAccepted", v.message}},
				condition{"Programmed", verdict{"False", "ParentNotProgrammed", v.message}})
		}
	}
	return our, err
}

func nameOf(x object) types.NamespacedName {
	return types.NamespacedName{Namespace: x.GetNamespace(), Name: x.GetName()}
}
