package kube

import (
	"cmp"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/ambitmesh/ambit/controller/translate"
	"github.com/ambitmesh/ambit/internal/objects"
)

// ConditionType is the condition that we write; all others are others'.
const ConditionType = "AmbitAccepted"

// Reasons of the condition.
const (
	Enforced       = "Enforced"       // as written
	PartlyEnforced = "PartlyEnforced" // the message says what is not, and why
	NotEnforced    = "NotEnforced"    // understood, but nobody does it
	Refused        = "Refused"        // not understood
)

// maxMessage bounds the message, in bytes: who wants more asks ambit status.
const maxMessage = 4096

// resourceOf returns where a kind's status is written; kinds of Kubernetes itself have none of ours.
func resourceOf(k objects.Kind) (schema.GroupVersionResource, bool) {
	security := func(r string) (schema.GroupVersionResource, bool) {
		return schema.GroupVersionResource{Group: "security.istio.io", Version: "v1", Resource: r}, true
	}
	networking := func(r string) (schema.GroupVersionResource, bool) {
		return schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: r}, true
	}
	switch k {
	case objects.AuthorizationPolicy:
		return security("authorizationpolicies")
	case objects.PeerAuthentication:
		return security("peerauthentications")
	case objects.RequestAuthentication:
		return security("requestauthentications")
	case objects.DestinationRule:
		return networking("destinationrules")
	case objects.ServiceEntry:
		return networking("serviceentries")
	case objects.WorkloadEntry:
		return networking("workloadentries")
	}
	return schema.GroupVersionResource{}, false
}

// verdict is the condition without its times.
type verdict struct{ status, reason, message string }

func verdictOf(st translate.Status) verdict {
	v := verdict{status: "True", reason: Enforced, message: st.Message}
	parts := strings.Join(st.Parts, "; ")
	switch {
	case !st.Accepted:
		v.status, v.reason = "False", Refused
		v.message = joined(v.message, parts)
	case st.EnforcedBy == "":
		v.reason, v.message = NotEnforced, joined(cmp.Or(v.message, "enforced by nobody"), parts)
	case parts != "":
		v.reason = PartlyEnforced
		v.message = joined("enforced by "+st.EnforcedBy, v.message) + "; not as written: " + parts
	default:
		v.message = joined("enforced by "+st.EnforcedBy, v.message)
	}
	v.message = strings.ToValidUTF8(v.message[:min(len(v.message), maxMessage)], "")
	return v
}

func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
