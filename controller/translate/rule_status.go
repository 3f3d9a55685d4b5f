package translate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/internal/objects"
)

func (m *Mesh) flushRules() {
	for k := range m.stale.rules {
		ref := Ref{objects.DestinationRule, k.namespace, k.name}
		if r := m.rules.byKey[k]; r != nil {
			m.status[ref] = m.ruleStatus(r)
		} else {
			delete(m.status, ref)
		}
	}
	clear(m.stale.rules)
}

// ruleStatus says why a rule that was understood has no effect.
func (m *Mesh) ruleStatus(r *rule) Status {
	st := r.status
	if r.outlier == nil || r.unused || strings.HasPrefix(r.host, "*") {
		return st
	}
	service, ok := serviceNamed(r.host)
	var why string
	switch winner := m.ruleOf(service); {
	case !ok || m.services.byKey[service] == nil:
		why = fmt.Sprintf("host: there is no service with the host name %q", r.host)
	case r.key.namespace != service.namespace && r.key.namespace != m.opts.RootNamespace:
		why = "a rule outside of the service's namespace, for clients of its own, is " + notSupported
	case winner != nil && winner.key != r.key:
		why = winner.status.Ref.String() + " takes its place"
	default:
		return st
	}
	st.EnforcedBy, st.Parts = "", append(slices.Clone(st.Parts), "not in force: "+why)
	return st
}
