package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/gateway-api/pkg/consts"
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// crdSource is on the definitions that manifests/crds.yaml installed.
const crdSource = "ambit.dev/crd-source"

// istioKinds are honoured; see manifests/crds.yaml.
var istioKinds = []string{
	"authorizationpolicies.security.istio.io", "peerauthentications.security.istio.io", "requestauthentications.security.istio.io",
	"destinationrules.networking.istio.io", "serviceentries.networking.istio.io", "workloadentries.networking.istio.io",
}

func (c *Cluster) checkCRDs(ctx context.Context) ([]Line, error) {
	list, err := c.Dynamic.Resource(definitions).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	have := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		have[list.Items[i].GetName()] = &list.Items[i]
	}
	return append(checkIstio(have), checkGatewayAPI(have)...), nil
}

func checkIstio(have map[string]*unstructured.Unstructured) []Line {
	var missing, foreign []string
	for _, name := range istioKinds {
		switch d := have[name]; {
		case d == nil:
			missing = append(missing, name)
		case d.GetAnnotations()[crdSource] == "":
			foreign = append(foreign, name)
		}
	}
	var out []Line
	if len(missing) > 0 {
		out = append(out, one(Warn, "definitions of Istio's kinds", "kubectl apply --server-side -f manifests/crds.yaml", "not there: %s", strings.Join(missing, ", "))...)
	}
	if len(foreign) > 0 {
		out = append(out, one(OK, "definitions of Istio's kinds", "crds.yaml leaves them as they are and says so", "installed by somebody else: %s", strings.Join(foreign, ", "))...)
	}
	if len(out) == 0 {
		out = one(OK, "definitions of Istio's kinds", "", "%d, from %s", len(istioKinds), have[istioKinds[0]].GetAnnotations()[crdSource])
	}
	return out
}

// checkGatewayAPI compares the version with the one that crds.yaml carries.
func checkGatewayAPI(have map[string]*unstructured.Unstructured) []Line {
	const what = "definitions of Gateway API"
	d := have["gateways.gateway.networking.k8s.io"]
	if d == nil {
		return one(Warn, what, "kubectl apply --server-side -f manifests/crds.yaml", "not there")
	}
	there := d.GetAnnotations()[consts.BundleVersionAnnotation]
	switch compare(there, consts.BundleVersion) {
	case 1:
		return one(OK, what, "crds.yaml ("+consts.BundleVersion+") leaves them as they are and says so", "newer: %s", there)
	case -1:
		return one(Warn, what, "kubectl apply --server-side -f manifests/crds.yaml", "older than %s: %s", consts.BundleVersion, there)
	}
	return one(OK, what, "", "%s, %s channel", there, d.GetAnnotations()[consts.ChannelAnnotation])
}

// compare orders versions like v1.6.3; what is no version comes first.
func compare(a, b string) int {
	x, y := numbers(a), numbers(b)
	for i := range x {
		if x[i] != y[i] {
			if x[i] < y[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

func numbers(v string) (out [3]int) {
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "-")
	for i, s := range strings.SplitN(v, ".", 3) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return [3]int{}
		}
		out[i] = n
	}
	return out
}
