package translate

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	istioapi "istio.io/api/security/v1beta1"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// reader translates one policy's rules and notes what is to be said about them.
type reader struct {
	opts      Options
	namespace string
	deny      bool

	refused  []string // parts that are not enforced as written, with why
	warnings []string // parts that are, and do not mean what they seem to
	errs     []error  // what cannot be understood
}

func (r *reader) fail(path string, err error) {
	if path != "" {
		err = fmt.Errorf("%s: %w", path, err)
	}
	r.errs = append(r.errs, err)
}

func (r *reader) warn(path, what string) { r.warnings = append(r.warnings, path+": "+what) }

// consequence says in words what becomes of the policy.
func (r *reader) consequence(dryRun bool) string {
	switch {
	case dryRun:
		return "dry run: noted, not enforced"
	case len(r.refused) == 0:
		return ""
	case r.deny:
		return "conditions that cannot be judged are left out: more is refused than written"
	}
	return "rules that need layer 7 allow nothing"
}

func (r *reader) rules(in []*istioapi.Rule) (out []*security.Rule) {
	for i, rule := range in {
		out = append(out, r.rule(fmt.Sprintf("rules[%d]", i), rule)...)
	}
	return out
}

// rule translates one rule. An ALLOW rule that needs layer 7 becomes none. A DENY rule loses what
// needs layer 7. More than one rule comes back when sources cannot be said within one.
func (r *reader) rule(path string, in *istioapi.Rule) []*security.Rule {
	if in == nil {
		r.fail(path, errors.New("empty"))
		return nil
	}
	before := len(r.refused)
	rest := r.operations(path, in.GetTo())
	for i, c := range in.GetWhen() {
		rest = r.and(rest, r.condition(fmt.Sprintf("%s.when[%d]", path, i), c))
	}
	sources := r.sources(path, in.GetFrom())
	if !r.deny && len(r.refused) > before {
		return nil
	}
	return r.split(sources, rest)
}

// and adds a clause of alternatives. One that is empty asks nothing: then the clause is true and left
// out, for an empty match means different things to different proxies. Only a DENY rule comes here
// with one, having lost what needs layer 7; an ALLOW rule with one has been noted and is dropped.
func (r *reader) and(clauses []*security.Clause, alternatives ...*security.Match) []*security.Clause {
	if len(alternatives) == 0 || slices.ContainsFunc(alternatives, isEmpty) {
		return clauses
	}
	return append(clauses, &security.Clause{Matches: alternatives})
}

func isEmpty(m *security.Match) bool {
	return len(m.Namespaces)+len(m.NotNamespaces)+len(m.Principals)+len(m.NotPrincipals)+
		len(m.ServiceAccounts)+len(m.NotServiceAccounts)+len(m.SourceIps)+len(m.NotSourceIps)+
		len(m.DestinationIps)+len(m.NotDestinationIps)+len(m.DestinationPorts)+len(m.NotDestinationPorts) == 0
}

// operations translates "to": alternatives of which one must match.
func (r *reader) operations(path string, in []*istioapi.Rule_To) []*security.Clause {
	var alternatives []*security.Match
	for i, to := range in {
		at := fmt.Sprintf("%s.to[%d].operation", path, i)
		alternatives = append(alternatives, r.operation(at, to.GetOperation()))
	}
	return r.and(nil, alternatives...)
}

func (r *reader) operation(path string, op *istioapi.Operation) *security.Match {
	r.notEmpty(path, op)
	m := &security.Match{
		DestinationPorts:    each(r, path+".ports", op.GetPorts(), portOf),
		NotDestinationPorts: each(r, path+".notPorts", op.GetNotPorts(), portOf),
	}
	r.needsL7(path, []field{
		{"hosts", op.GetHosts()}, {"notHosts", op.GetNotHosts()}, {"methods", op.GetMethods()},
		{"notMethods", op.GetNotMethods()}, {"paths", op.GetPaths()}, {"notPaths", op.GetNotPaths()},
	})
	return m
}

// field is one list of values by its name.
type field struct {
	name   string
	values []string
}

// needsL7 notes the fields that only a layer 7 proxy can judge.
func (r *reader) needsL7(path string, fields []field) {
	for _, f := range fields {
		if len(f.values) > 0 {
			r.refused = append(r.refused, path+"."+f.name+": "+needsL7)
		}
	}
}

// notEmpty refuses a source or operation that says nothing: taken by its word it would match all.
func (r *reader) notEmpty(path string, m proto.Message) {
	if proto.Size(m) == 0 {
		r.fail(path, errors.New("empty"))
	}
}
