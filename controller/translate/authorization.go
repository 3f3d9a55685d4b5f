package translate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"istio.io/api/annotation"
	istioapi "istio.io/api/security/v1beta1"
	typeapi "istio.io/api/type/v1beta1"
	istiosecurity "istio.io/client-go/pkg/apis/security/v1"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/objects"
)

// authorization translates a policy. What cannot be understood restricts, never opens.
func (o Options) authorization(ap *istiosecurity.AuthorizationPolicy) *policy {
	p := &policy{status: Status{Ref: Ref{objects.AuthorizationPolicy, ap.Namespace, ap.Name}, Accepted: true, Generation: ap.Generation}}
	r := &reader{opts: o, namespace: ap.Namespace, deny: ap.Spec.Action != istioapi.AuthorizationPolicy_ALLOW}
	r.allKnown(&ap.Spec)
	selector := r.selector(ap.Spec.Selector)
	if why, ok := ap.Annotations[objects.UnreadableAnnotation]; ok {
		r.fail("", errors.New(why))
	}
	if targets(ap) && len(selector) > 0 {
		r.fail("targetRefs", errors.New("exclude a selector"))
	}
	switch {
	case targets(ap) && len(r.errs) == 0:
		p.status.Message = "targetRefs: for waypoints only, and there is none: not enforced"
		return p
	case ap.Spec.Action == istioapi.AuthorizationPolicy_AUDIT:
		p.status.Message = "action: AUDIT is " + notSupported
		return p
	}
	r.action(ap.Spec.Action)
	p.message, p.selector = o.head(ap, r, selector), selector
	p.message.Rules = r.rules(ap.Spec.Rules)
	p.finish(r)
	return p
}

func targets(ap *istiosecurity.AuthorizationPolicy) bool {
	return ap.Spec.TargetRef != nil || len(ap.Spec.TargetRefs) > 0
}

// head returns the policy without its rules.
func (o Options) head(ap *istiosecurity.AuthorizationPolicy, r *reader, selector map[string]string) *security.Authorization {
	a := &security.Authorization{Name: ap.Name, Namespace: ap.Namespace, DryRun: r.dryRun(ap.Annotations)}
	switch {
	case len(selector) > 0:
		a.Scope = security.Scope_WORKLOAD_SELECTOR
	case ap.Namespace == o.RootNamespace:
		a.Scope = security.Scope_GLOBAL
	default:
		a.Scope = security.Scope_NAMESPACE
	}
	if r.deny {
		a.Action = security.Action_DENY
	}
	return a
}

// action notes an action that is not done as written.
func (r *reader) action(a istioapi.AuthorizationPolicy_Action) {
	switch a {
	case istioapi.AuthorizationPolicy_ALLOW, istioapi.AuthorizationPolicy_DENY:
	case istioapi.AuthorizationPolicy_CUSTOM:
		r.refused = append(r.refused, "action: CUSTOM is "+notSupported+": what the rules match is refused, as by DENY")
	default:
		r.fail("action", fmt.Errorf("unknown action %d", a))
	}
}

// dryRun reads Istio's annotation. A value that is neither true nor false leaves the policy enforced.
func (r *reader) dryRun(annotations map[string]string) bool {
	name := annotation.IoIstioDryRun.Name
	v, ok := annotations[name]
	if !ok {
		return false
	}
	dry, err := strconv.ParseBool(v)
	if err != nil {
		r.warn("metadata.annotations["+name+"]", fmt.Sprintf("%q is neither true nor false: enforced", v))
	}
	return dry && err == nil
}

// selector returns the labels that a selector means; none for the whole namespace, also when it cannot
// be understood.
func (r *reader) selector(s *typeapi.WorkloadSelector) map[string]string {
	for k, v := range s.GetMatchLabels() {
		if k == "" || strings.Contains(k+v, "*") {
			r.fail("selector.matchLabels", fmt.Errorf("%q: %q is no label", k, v))
			return nil
		}
	}
	return s.GetMatchLabels()
}
