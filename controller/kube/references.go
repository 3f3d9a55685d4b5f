package kube

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// reference is a parentRef, ancestorRef, targetRef or backendRef with nothing left out, to compare.
type reference struct {
	group, kind, namespace, name, section string
	port                                  int64
}

// gatewayIn is what parentRefs and ancestorRefs mean that say only a name.
func gatewayIn(namespace string) reference {
	return reference{group: gatewayGroup, kind: "Gateway", namespace: namespace}
}

// serviceIn is what backendRefs mean that say only a name.
func serviceIn(namespace string) reference { return reference{kind: "Service", namespace: namespace} }

// referenceIn reads a reference; what it leaves out is as in r.
func referenceIn(ref map[string]any, r reference) reference {
	for key, to := range map[string]*string{
		"group": &r.group, "kind": &r.kind, "namespace": &r.namespace, "name": &r.name, "sectionName": &r.section,
	} {
		if s, ok := ref[key].(string); ok {
			*to = s
		}
	}
	if port, ok := ref["port"]; ok {
		r.port = number(port)
	}
	return r
}

// isService says whether r is a Service of Kubernetes.
func (r reference) isService() bool { return r.group == "" && r.kind == "Service" }

// isMesh says whether routes attached to r are the mesh's, not a gateway's.
func (r reference) isMesh() bool {
	return r.isService() || r.group == "networking.istio.io" && r.kind == "ServiceEntry"
}

// objectsIn are the objects of a list; none if it is no list.
func objectsIn(x map[string]any, path ...string) (out []map[string]any) {
	list, _, err := unstructured.NestedSlice(x, path...)
	if err != nil {
		return nil
	}
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
