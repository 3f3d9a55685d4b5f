// Package authz judges connections by L4 authorization policies, failing closed: what cannot be
// understood restricts, never opens.
package authz

import (
	"net/netip"
	"strings"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/reason"
)

// Flow is what a policy may look at.
type Flow struct {
	Source   identity.ID    // zero: plaintext
	SourceIP netip.Addr     // TCP source address, unmapped
	Dest     netip.AddrPort // the application's address and port, not 15008
}

// Verdict is the outcome of judging one flow.
type Verdict struct {
	Allowed bool
	Reason  reason.Reason // None if allowed
	Policy  string        // "namespace/name" that decided; "" if none did
	Detail  string        // for explain: why, in words
	DryRun  []string      // dry-run policies that would have refused, "namespace/name"
}

// Action is what a matching policy does.
type Action uint8

// The actions.
const (
	Allow Action = iota
	Deny
)

// String returns ALLOW or DENY, as users write it.
func (a Action) String() string {
	if a == Deny {
		return "DENY"
	}
	return "ALLOW"
}

// Scope is which workloads a policy applies to.
type Scope uint8

// The scopes.
const (
	Global    Scope = iota // every workload
	Namespace              // those of the policy's namespace
	Selector               // those whose record names the policy
)

// String returns the scope as Istio's proxy dumps it.
func (s Scope) String() string {
	return [...]string{"Global", "Namespace", "WorkloadSelector"}[min(s, Selector)]
}

// Policy is a compiled policy. Immutable.
type Policy struct {
	name, namespace, key string
	scope                Scope
	action               Action
	dryRun               bool
	rules                []rule // OR; none: never matches
	kind                 string // of the object it comes from, if the controller said so
	refused              []string
	unreadable           string // why it cannot be understood; "" if it can

	// Words for verdicts, made once: refusals are as frequent as a stranger likes.
	matched, unmatched, needsL7 string
}

// Name returns the policy's name.
func (p *Policy) Name() string { return p.name }

// Namespace returns the policy's namespace.
func (p *Policy) Namespace() string { return p.namespace }

// Key returns "namespace/name".
func (p *Policy) Key() string {
	if p.key == "" {
		return p.namespace + "/" + p.name
	}
	return p.key
}

// Scope returns which workloads the policy applies to.
func (p *Policy) Scope() Scope { return p.scope }

// Action returns what the policy does when it matches.
func (p *Policy) Action() Action { return p.action }

// DryRun reports whether the policy is only noted.
func (p *Policy) DryRun() bool { return p.dryRun }

// Kind returns the kind of the object that the policy comes from, or "".
func (p *Policy) Kind() string { return p.kind }

// Refused lists the parts that are not enforced as written, with why.
func (p *Policy) Refused() []string { return p.refused }

// Unreadable says why the policy cannot be understood; "" if it can.
func (p *Policy) Unreadable() string { return p.unreadable }

// Unintelligible returns the policy that stands for one that cannot be understood: an ALLOW matches
// nothing but counts as present, a DENY matches all of its scope.
func Unintelligible(name, namespace string, scope Scope, action Action, why string) *Policy {
	p := &Policy{name: name, namespace: namespace, scope: scope, action: action,
		unreadable: orElse(why, "unknown")}
	p.describe()
	return p
}

// Standing returns the policy that stands for a, which FromProto refused with err. An action or a
// scope of an unknown kind is taken as the strictest.
func Standing(a *security.Authorization, err error) *Policy {
	action, _ := actionOf(a.GetAction())
	scope, _ := scopeOf(a.GetScope())
	p := Unintelligible(a.GetName(), a.GetNamespace(), scope, action, err.Error())
	p.dryRun = a.GetDryRun()
	return p
}

func (p *Policy) describe() {
	p.key = p.Key()
	p.matched = "refused by DENY policy " + p.key
	p.unmatched = "ALLOW policy " + p.key + " applies and does not match"
	if p.unreadable != "" {
		why := p.action.String() + " policy " + p.key + " cannot be understood: " + p.unreadable
		p.matched, p.unmatched = why, why
	}
	if len(p.refused) > 0 {
		p.needsL7 = "ALLOW policy " + p.key + ": " + strings.Join(p.refused, "; ")
	}
}
