package objects

import (
	"encoding/json"

	securityapi "istio.io/api/security/v1beta1"
	typev1beta1 "istio.io/api/type/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UnreadableAnnotation marks a policy as a stand-in for one that cannot be read: it is enforced closed. The
// value is the reason.
const UnreadableAnnotation = "ambit.dev/unreadable"

// standIn returns the object that takes a refused policy's place: without it, a typing error in a new
// policy would leave its workloads open. It has the selector and the action if those can be read.
func standIn(doc Document, js []byte, why error) Object {
	meta := metav1.ObjectMeta{Namespace: doc.Namespace, Name: doc.Name,
		Annotations: map[string]string{UnreadableAnnotation: why.Error()}}
	selector := readSelector(js)
	switch doc.Kind {
	case AuthorizationPolicy:
		o := &security.AuthorizationPolicy{ObjectMeta: meta}
		o.Spec.Selector = selector
		o.Spec.Action = readAction(js)
		finish(o, doc)
		return o
	case PeerAuthentication:
		o := &security.PeerAuthentication{ObjectMeta: meta}
		o.Spec.Selector = selector
		o.Spec.Mtls = &securityapi.PeerAuthentication_MutualTLS{Mode: securityapi.PeerAuthentication_MutualTLS_STRICT}
		finish(o, doc)
		return o
	}
	return nil
}

// readSelector returns nil (the whole namespace) unless the selector is plainly readable.
func readSelector(js []byte) *typev1beta1.WorkloadSelector {
	var s struct {
		Spec struct {
			Selector map[string]map[string]string `json:"selector"`
		} `json:"spec"`
	}
	if json.Unmarshal(js, &s) != nil || len(s.Spec.Selector) != 1 || len(s.Spec.Selector["matchLabels"]) == 0 {
		return nil
	}
	return &typev1beta1.WorkloadSelector{MatchLabels: s.Spec.Selector["matchLabels"]}
}

// readAction returns DENY, the closed reading, unless the action is plainly ALLOW or absent.
func readAction(js []byte) securityapi.AuthorizationPolicy_Action {
	var s struct {
		Spec struct {
			Action string `json:"action"`
		} `json:"spec"`
	}
	if json.Unmarshal(js, &s) == nil && (s.Spec.Action == "" || s.Spec.Action == "ALLOW") {
		return securityapi.AuthorizationPolicy_ALLOW
	}
	return securityapi.AuthorizationPolicy_DENY
}
