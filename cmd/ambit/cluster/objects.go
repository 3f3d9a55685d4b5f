package cluster

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Object is what the controller says of an object that its user wrote.
type Object struct {
	Kind, Namespace, Name string
	Accepted              bool
	EnforcedBy            string
	Message               string
	Parts                 []string // what is not as written
}

// judged are the kinds on which the controller writes its condition.
var judged = []schema.GroupVersionResource{
	{Group: "security.istio.io", Version: "v1", Resource: "authorizationpolicies"},
	peerAuthentications,
	{Group: "security.istio.io", Version: "v1", Resource: "requestauthentications"},
	{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"},
	{Group: "networking.istio.io", Version: "v1", Resource: "serviceentries"},
	{Group: "networking.istio.io", Version: "v1", Resource: "workloadentries"},
}

const acceptedCondition = "AmbitAccepted"

// Objects lists the users' objects with the controller's judgement.
func (c *Cluster) Objects(ctx context.Context) ([]Object, error) {
	var out []Object
	for _, kind := range judged {
		list, err := c.Dynamic.Resource(kind).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) { // no such definition
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.Resource, err)
		}
		for i := range list.Items {
			out = append(out, objectOf(&list.Items[i]))
		}
	}
	return out, nil
}

func objectOf(u *unstructured.Unstructured) Object {
	x := Object{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName(), Message: "the controller has not judged it yet"}
	conditions, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err != nil {
		return x
	}
	for _, v := range conditions {
		if m, ok := v.(map[string]any); ok && m["type"] == acceptedCondition {
			x.judge(text(m["status"]) == "True", text(m["message"]))
		}
	}
	return x
}

// judge takes the message apart as the controller put it together.
func (x *Object) judge(accepted bool, message string) {
	x.Accepted, x.Message = accepted, message
	rest, ok := strings.CutPrefix(message, "enforced by ")
	if !ok {
		return
	}
	rest, parts, ok := strings.Cut(rest, "; not as written: ")
	if ok {
		x.Parts = strings.Split(parts, "; ")
	}
	x.EnforcedBy, x.Message, _ = strings.Cut(rest, "; ")
}

func text(v any) string {
	s, ok := v.(string)
	if !ok {
		return ""
	}
	return s
}
