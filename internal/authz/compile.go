package authz

import (
	"errors"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// Action is what a matching policy does.
type Action uint8

// The actions.
const (
	Allow Action = iota
	Deny
)

// Scope is which workloads a policy applies to.
type Scope uint8

// The scopes.
const (
	Global    Scope = iota // every workload
	Namespace              // those of the policy's namespace
	Selector               // those whose record names the policy
)

// Policy is a compiled policy. Immutable.
type Policy struct {
	name, namespace string
	scope           Scope
	action          Action
	dryRun          bool
}

// Name returns the policy's name.
func (p *Policy) Name() string { return p.name }

// Namespace returns the policy's namespace.
func (p *Policy) Namespace() string { return p.namespace }

// Scope returns which workloads the policy applies to.
func (p *Policy) Scope() Scope { return p.scope }

// Action returns what the policy does when it matches.
func (p *Policy) Action() Action { return p.action }

// DryRun reports whether the policy is only noted.
func (p *Policy) DryRun() bool { return p.dryRun }

// FromProto compiles a policy.
func FromProto(*security.Authorization) (*Policy, error) { return nil, errors.ErrUnsupported }

// Unintelligible returns a policy that stands for one that cannot be understood.
func Unintelligible(name, namespace string, scope Scope, action Action, why string) *Policy {
	return nil
}

// Judge judges f.
func Judge(f *Flow, policies []*Policy, unknown []string) Verdict { return Verdict{} }
