package authz

import (
	"errors"
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// NoteExtension is the name of the Authorization extension that carries an ambit.mesh.v1.PolicyNote.
const NoteExtension = "ambit.dev/policy"

// Bounds of one policy, against a controller that sends nonsense. A Kubernetes object cannot be
// larger than 1.5 MiB, so real policies stay well below.
const (
	maxElements = 1 << 17
	maxString   = 2048
)

var errTooLarge = errors.New("more elements than a policy may have")

// FromProto compiles a policy. It fails if any element cannot be understood: dropping one would widen
// an ALLOW or void a DENY. The caller then keeps its older good version, else lets Standing stand.
func FromProto(a *security.Authorization) (*Policy, error) {
	p := &Policy{name: a.GetName(), namespace: a.GetNamespace(), dryRun: a.GetDryRun()}
	if p.name == "" || p.namespace == "" {
		return nil, fmt.Errorf("compile policy %q: no name or namespace", p.Key())
	}
	c := compiler{p: p, left: maxElements}
	if err := c.compile(a); err != nil {
		return nil, fmt.Errorf("compile policy %q: %w", p.Key(), err)
	}
	p.describe()
	return p, nil
}

// compiler turns one message into one policy.
type compiler struct {
	p    *Policy
	left int // elements that may still come
}

func (c *compiler) compile(a *security.Authorization) error {
	var err error
	if c.p.action, err = actionOf(a.GetAction()); err != nil {
		return err
	}
	if c.p.scope, err = scopeOf(a.GetScope()); err != nil {
		return err
	}
	if err := c.notes(a); err != nil {
		return err
	}
	for i, r := range a.GetRules() {
		compiled, err := c.rule(r)
		if err != nil {
			return fmt.Errorf("rules[%d]: %w", i, err)
		}
		c.p.rules = append(c.p.rules, compiled)
	}
	return nil
}

func actionOf(a security.Action) (Action, error) {
	switch a {
	case security.Action_ALLOW:
		return Allow, nil
	case security.Action_DENY:
		return Deny, nil
	}
	return Deny, fmt.Errorf("unknown action %d", a)
}

func scopeOf(s security.Scope) (Scope, error) {
	switch s {
	case security.Scope_GLOBAL:
		return Global, nil
	case security.Scope_NAMESPACE:
		return Namespace, nil
	case security.Scope_WORKLOAD_SELECTOR:
		return Selector, nil
	}
	return Global, fmt.Errorf("unknown scope %d", s)
}

// notes reads what the controller says about the policy. Extensions of others are not ours to judge.
func (c *compiler) notes(a *security.Authorization) error {
	for _, e := range a.GetExtensions() {
		if e.GetName() != NoteExtension {
			continue
		}
		var n ambit.PolicyNote
		if err := e.GetConfig().UnmarshalTo(&n); err != nil {
			return fmt.Errorf("extension %q: %w", NoteExtension, err)
		}
		c.p.kind, c.p.refused = n.GetKind(), n.GetRefused()
		if n.GetUnintelligible() {
			c.p.unreadable = orElse(n.GetReason(), "the controller cannot understand it")
		}
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (c *compiler) rule(r *security.Rule) (rule, error) {
	var out rule
	if err := c.take(r, len(r.GetClauses())); err != nil {
		return out, err
	}
	for i, cl := range r.GetClauses() {
		compiled, err := c.clause(cl)
		if err != nil {
			return out, fmt.Errorf("clauses[%d]: %w", i, err)
		}
		out.clauses = append(out.clauses, compiled)
	}
	out.plaintextOnly = plaintextOnly(out.clauses)
	return out, nil
}

func (c *compiler) clause(cl *security.Clause) (clause, error) {
	if err := c.take(cl, len(cl.GetMatches())); err != nil {
		return nil, err
	}
	var out clause
	for i, m := range cl.GetMatches() {
		compiled, err := c.match(m)
		if err != nil {
			return nil, fmt.Errorf("matches[%d]: %w", i, err)
		}
		out = append(out, compiled)
	}
	return out, nil
}

// take counts n elements and refuses fields that this version does not know: they may be a
// restriction.
func (c *compiler) take(m proto.Message, n int) error {
	if len(m.ProtoReflect().GetUnknown()) > 0 {
		return errors.New("a field that is not known to this version")
	}
	if c.left -= n; c.left < 0 {
		return errTooLarge
	}
	return nil
}

func (c *compiler) match(m *security.Match) (match, error) {
	if len(m.GetExtensions()) > 0 {
		return match{}, fmt.Errorf("extension %q inside a match", m.GetExtensions()[0].GetName())
	}
	if err := c.take(m, 1); err != nil {
		return match{}, err
	}
	var out match
	var errs [12]error
	out.namespaces, errs[0] = texts(c, "namespaces", m.GetNamespaces())
	out.notNamespaces, errs[1] = texts(c, "not_namespaces", m.GetNotNamespaces())
	out.principals, errs[2] = texts(c, "principals", m.GetPrincipals())
	out.notPrincipals, errs[3] = texts(c, "not_principals", m.GetNotPrincipals())
	out.sourceIPs, errs[4] = prefixes(c, "source_ips", m.GetSourceIps())
	out.notSourceIPs, errs[5] = prefixes(c, "not_source_ips", m.GetNotSourceIps())
	out.destIPs, errs[6] = prefixes(c, "destination_ips", m.GetDestinationIps())
	out.notDestIPs, errs[7] = prefixes(c, "not_destination_ips", m.GetNotDestinationIps())
	out.ports, errs[8] = ports(c, "destination_ports", m.GetDestinationPorts())
	out.notPorts, errs[9] = ports(c, "not_destination_ports", m.GetNotDestinationPorts())
	out.accounts, errs[10] = accounts(c, "service_accounts", m.GetServiceAccounts())
	out.notAccounts, errs[11] = accounts(c, "not_service_accounts", m.GetNotServiceAccounts())
	return out, errors.Join(errs[:]...)
}

// list compiles one attribute's list.
func list[P any, T any](c *compiler, name string, in []P, one func(P) (T, error)) ([]T, error) {
	if c.left -= len(in); c.left < 0 {
		return nil, errTooLarge
	}
	var out []T
	for i, e := range in {
		t, err := one(e)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", name, i, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func texts(c *compiler, name string, in []*security.StringMatch) ([]text, error) {
	return list(c, name, in, textOf)
}

func prefixes(c *compiler, name string, in []*security.Address) ([]netip.Prefix, error) {
	return list(c, name, in, prefixOf)
}

func ports(c *compiler, name string, in []uint32) ([]uint16, error) {
	return list(c, name, in, portOf)
}

func accounts(c *compiler, name string, in []*security.ServiceAccountMatch) ([]account, error) {
	return list(c, name, in, accountOf)
}
