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

const (
	// crdSource is on the definitions that manifests/crds.yaml installed: their module and its version.
	crdSource = "ambit.dev/crd-source"
	// istioModule and istioVersion are those of manifests/crds.yaml (a test).
	istioModule  = "istio.io/api"
	istioVersion = "v1.31.4"
)

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
	const (
		what  = "definitions of Istio's kinds"
		apply = "kubectl apply --server-side -f manifests/crds.yaml"
	)
	var missing, older, foreign, newer []string
	for _, name := range istioKinds {
		d := have[name]
		if d == nil {
			missing = append(missing, name)
			continue
		}
		source := d.GetAnnotations()[crdSource]
		version := strings.TrimPrefix(source, istioModule+" ")
		switch order := compare(version, istioVersion); {
		case source == "":
			foreign = append(foreign, name)
		case order > 0:
			newer = append(newer, name+" "+version)
		case order < 0:
			older = append(older, name+" "+version)
		}
	}
	var out []Line
	add := func(state State, hint, format string, names []string) {
		if len(names) > 0 {
			out = append(out, one(state, what, hint, format, strings.Join(names, ", "))...)
		}
	}
	add(Warn, apply, "not there: %s", missing)
	add(Warn, apply, "older than "+istioVersion+": %s", older)
	add(OK, "crds.yaml leaves them as they are and says so", "installed by somebody else: %s", foreign)
	add(OK, "crds.yaml ("+istioVersion+") leaves them as they are and says so", "newer: %s", newer)
	if len(out) == 0 {
		out = one(OK, what, "", "%d, from %s %s", len(istioKinds), istioModule, istioVersion)
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
