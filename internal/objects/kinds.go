package objects

import (
	"fmt"
	"slices"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Kind is the kind of an object, as written in its `kind:` field.
type Kind string

// The kinds that a source serves.
const (
	Namespace             Kind = "Namespace"
	Pod                   Kind = "Pod"
	Service               Kind = "Service"
	EndpointSlice         Kind = "EndpointSlice"
	Node                  Kind = "Node"
	ServiceAccount        Kind = "ServiceAccount"
	AuthorizationPolicy   Kind = "AuthorizationPolicy"
	PeerAuthentication    Kind = "PeerAuthentication"
	RequestAuthentication Kind = "RequestAuthentication"
	DestinationRule       Kind = "DestinationRule"
	ServiceEntry          Kind = "ServiceEntry"
	WorkloadEntry         Kind = "WorkloadEntry"
)

// Object is what every kind's Go type is.
type Object interface {
	runtime.Object
	metav1.Object
}

// Kinds returns all kinds in a fixed order.
func Kinds() []Kind {
	all := make([]Kind, 0, len(registry))
	for k := range registry {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// spec says how objects of a kind are read.
type spec struct {
	versions []string // accepted apiVersions; all are read into the one Go type; the API server is asked for the first it has
	resource string   // the plural in the API server's paths
	cluster  bool     // has no namespace
	proto    bool     // spec and status are protobuf messages (Istio's kinds)
	make     func() Object
}

var registry = map[Kind]spec{
	Namespace:      {versions: []string{"v1"}, resource: "namespaces", cluster: true, make: func() Object { return &corev1.Namespace{} }},
	Node:           {versions: []string{"v1"}, resource: "nodes", cluster: true, make: func() Object { return &corev1.Node{} }},
	Pod:            {versions: []string{"v1"}, resource: "pods", make: func() Object { return &corev1.Pod{} }},
	Service:        {versions: []string{"v1"}, resource: "services", make: func() Object { return &corev1.Service{} }},
	ServiceAccount: {versions: []string{"v1"}, resource: "serviceaccounts", make: func() Object { return &corev1.ServiceAccount{} }},
	EndpointSlice: {versions: []string{"discovery.k8s.io/v1"}, resource: "endpointslices",
		make: func() Object { return &discoveryv1.EndpointSlice{} }},
	AuthorizationPolicy: {versions: securityVersions, resource: "authorizationpolicies", proto: true,
		make: func() Object { return &security.AuthorizationPolicy{} }},
	PeerAuthentication: {versions: securityVersions, resource: "peerauthentications", proto: true,
		make: func() Object { return &security.PeerAuthentication{} }},
	RequestAuthentication: {versions: securityVersions, resource: "requestauthentications", proto: true,
		make: func() Object { return &security.RequestAuthentication{} }},
	DestinationRule: {versions: networkingVersions, resource: "destinationrules", proto: true,
		make: func() Object { return &networking.DestinationRule{} }},
	ServiceEntry: {versions: networkingVersions, resource: "serviceentries", proto: true,
		make: func() Object { return &networking.ServiceEntry{} }},
	WorkloadEntry: {versions: networkingVersions, resource: "workloadentries", proto: true,
		make: func() Object { return &networking.WorkloadEntry{} }},
}

var (
	securityVersions   = []string{"security.istio.io/v1", "security.istio.io/v1beta1"}
	networkingVersions = []string{"networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"}
)

// lookup returns how the kind is read if apiVersion is one of its versions.
func lookup(kind Kind, apiVersion string) (spec, error) {
	s, ok := registry[kind]
	if !ok {
		return spec{}, fmt.Errorf("kind %q of %q is not supported", kind, apiVersion)
	}
	if !slices.Contains(s.versions, apiVersion) {
		return spec{}, fmt.Errorf("apiVersion %q of kind %s is not supported (want %q)", apiVersion, kind, s.versions)
	}
	return s, nil
}
