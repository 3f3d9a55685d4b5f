package translate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/anypb"
	"istio.io/api/annotation"
	istioapi "istio.io/api/security/v1beta1"
	typeapi "istio.io/api/type/v1beta1"
	istiosecurity "istio.io/client-go/pkg/apis/security/v1"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/objects"
)

// policy is what an AuthorizationPolicy becomes.
type policy struct {
	message  *security.Authorization // nil: nothing is sent
	selector map[string]string       // of the pods whose records name it; empty: it has a wider scope
	bad      bool                    // cannot be understood: message is what stands for it
	status   Status
}

// unlessBad returns p, or the older version if p cannot be understood and that could.
func (p *policy) unlessBad(old *policy) *policy {
	if !p.bad || old == nil || old.bad {
		return p
	}
	kept := *old
	kept.status.Accepted = false
	kept.status.Message = p.status.Message + previousStays
	return &kept
}

// authorization translates a policy. What cannot be understood restricts, never opens.
func (o Options) authorization(ap *istiosecurity.AuthorizationPolicy) *policy {
	p := &policy{status: Status{Ref: Ref{objects.AuthorizationPolicy, ap.Namespace, ap.Name}, Accepted: true}}
	r := &reader{opts: o, namespace: ap.Namespace, deny: ap.Spec.Action != istioapi.AuthorizationPolicy_ALLOW}
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
	p.finish(ap, r)
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

// finish adds what is to be said about the policy, and replaces it if it cannot be understood.
func (p *policy) finish(ap *istiosecurity.AuthorizationPolicy, r *reader) {
	note := &ambit.PolicyNote{Kind: string(objects.AuthorizationPolicy), Refused: r.refused}
	if len(r.errs) == 0 {
		if err := p.seal(note); err != nil {
			r.fail("", err)
		}
	}
	p.status.EnforcedBy = ztunnel
	p.status.Parts = slices.Concat(r.refused, r.warnings)
	if len(r.errs) > 0 {
		p.stand(oneLine(r.errs))
		return
	}
	p.status.Message = r.consequence(p.message.DryRun)
}

// seal attaches the note and makes sure that a proxy will understand the message.
func (p *policy) seal(note *ambit.PolicyNote) error {
	cfg, err := anypb.New(note)
	if err != nil {
		return fmt.Errorf("pack note: %w", err)
	}
	p.message.Extensions = []*workload.Extension{{Name: authz.NoteExtension, Config: cfg}}
	_, err = authz.FromProto(p.message)
	return err
}

// stand makes the message what stands for a policy that cannot be understood: an ALLOW matches
// nothing, a DENY all of its scope. The rules say so too, for proxies that do not know the note.
func (p *policy) stand(reason string) {
	p.bad, p.message.Rules = true, nil
	meaning := "nothing is allowed"
	if p.message.Action == security.Action_DENY {
		p.message.Rules, meaning = []*security.Rule{{}}, "everything is refused"
	}
	p.status.Accepted, p.status.Message = false, reason+"; "+meaning
	// The note is made of valid text, so it can always be packed.
	_ = p.seal(&ambit.PolicyNote{Kind: string(objects.AuthorizationPolicy), Unintelligible: true, Reason: reason})
}
