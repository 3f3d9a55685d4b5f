package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var peerAuthentications = schema.GroupVersionResource{Group: "security.istio.io", Version: "v1", Resource: "peerauthentications"}

// peers are the cluster's PeerAuthentications, the oldest first: of several that select a pod it counts.
type peers []unstructured.Unstructured

func (c *Cluster) peers(ctx context.Context) (peers, error) {
	list, err := c.Dynamic.Resource(peerAuthentications).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list peer authentications: %w", err)
	}
	slices.SortStableFunc(list.Items, func(a, b unstructured.Unstructured) int {
		x, y := a.GetCreationTimestamp(), b.GetCreationTimestamp()
		return cmp.Or(x.Compare(y.Time), strings.Compare(a.GetName(), b.GetName()))
	})
	return list.Items, nil
}

// strict tells whether a pod's port demands mutual TLS of everybody: the port's own mode decides, else
// that of the pod, of the namespace, of the mesh.
func (p peers) strict(namespace string, labels map[string]string, port int32) bool {
	for _, mode := range []string{
		p.find(namespace, func(x *unstructured.Unstructured, selector map[string]string) string {
			if len(selector) == 0 || !contains(labels, selector) {
				return ""
			}
			return cmp.Or(modeAt(x, "portLevelMtls", strconv.Itoa(int(port)), "mode"), modeAt(x, "mtls", "mode"))
		}),
		p.find(namespace, wide), p.find(Namespace, wide),
	} {
		if mode != "" {
			return mode == "STRICT"
		}
	}
	return false
}

// find returns the first mode that a namespace's objects give.
func (p peers) find(namespace string, mode func(*unstructured.Unstructured, map[string]string) string) string {
	for i := range p {
		if p[i].GetNamespace() != namespace {
			continue
		}
		selector, _, err := unstructured.NestedStringMap(p[i].Object, "spec", "selector", "matchLabels")
		if err != nil {
			continue
		}
		if m := mode(&p[i], selector); m != "" {
			return m
		}
	}
	return ""
}

// wide is the mode of an object that is for all of its namespace.
func wide(x *unstructured.Unstructured, selector map[string]string) string {
	if len(selector) > 0 {
		return ""
	}
	return modeAt(x, "mtls", "mode")
}

// modeAt reads a mode; UNSET is none.
func modeAt(x *unstructured.Unstructured, path ...string) string {
	mode, _, err := unstructured.NestedString(x.Object, append([]string{"spec"}, path...)...)
	if err != nil || mode == "UNSET" {
		return ""
	}
	return mode
}

func contains(all, some map[string]string) bool {
	for k, v := range some {
		if have, ok := all[k]; !ok || have != v {
			return false
		}
	}
	return true
}
