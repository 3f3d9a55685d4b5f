package translate

import (
	"cmp"
	"strings"
	"time"

	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
)

// ruleIndex finds DestinationRules by host; wildcards stand under what they end with, from the dot.
type ruleIndex struct {
	byKey  map[key]*rule
	byHost multimap[string, key]
}

func newRuleIndex() ruleIndex {
	return ruleIndex{map[key]*rule{}, multimap[string, key]{}}
}

// rule is what a DestinationRule says.
type rule struct {
	key     key
	created time.Time
	host    string
	outlier *ambit.Outlier // nil: it says nothing about ejection
	bad     bool           // cannot be understood: it has no effect
	why     string         // it is bad
	unused  bool           // it asks to apply to less than can be said
	status  Status
}

func (r *rule) unlessBad(old *rule) *rule {
	if !r.bad || old == nil || old.bad {
		return r
	}
	kept := *old
	kept.status.Generation = r.status.Generation
	kept.status.Accepted = false
	kept.status.Message = r.why + previousStays
	return &kept
}

// setRule replaces a DestinationRule; nil removes it.
func (m *Mesh) setRule(k key, dr *networking.DestinationRule) {
	old := m.rules.byKey[k]
	if old != nil {
		m.rules.byHost.remove(old.host, k)
		delete(m.rules.byKey, k)
		m.staleHostname(old.host)
	}
	if dr != nil {
		now := readRule(dr).unlessBad(old)
		m.rules.byHost.add(now.host, k)
		m.rules.byKey[k] = now
		m.staleHostname(now.host)
	}
	m.stale.rules.add(k)
}

// staleHostname marks the services that a rule's host means, and the other rules for it.
func (m *Mesh) staleHostname(host string) {
	m.staleRulesOf(host)
	if k, ok := serviceNamed(host); ok {
		m.stale.services.add(k)
		return
	}
	suffix, wild := strings.CutPrefix(host, "*")
	for k := range m.services.byKey {
		if wild && strings.HasSuffix(Hostname(k.namespace, k.name), suffix) {
			m.stale.services.add(k)
		}
	}
}

func (m *Mesh) staleRulesOf(host string) {
	for k := range m.rules.byHost[host] {
		m.stale.rules.add(k)
	}
}

// serviceNamed returns the service with that host name.
func serviceNamed(host string) (key, bool) {
	rest, ok := strings.CutSuffix(host, "."+domainSuffix)
	name, namespace, two := strings.Cut(rest, ".")
	return key{namespace, name}, ok && two && !strings.ContainsAny(rest, "*") && !strings.Contains(namespace, ".")
}

// outlierOf returns the ejection settings of a service, or nil: those of the most specific host; of
// several rules for one host that of the service's namespace, else that of the root namespace.
func (m *Mesh) outlierOf(service key) *ambit.Outlier {
	if r := m.ruleOf(service); r != nil {
		return r.outlier
	}
	return nil
}

func (m *Mesh) ruleOf(service key) *rule {
	host := Hostname(service.namespace, service.name)
	if r := m.firstRule(host, service.namespace); r != nil {
		return r
	}
	for i := range host {
		if host[i] == '.' {
			if r := m.firstRule("*"+host[i:], service.namespace); r != nil {
				return r
			}
		}
	}
	return m.firstRule("*", service.namespace)
}

// firstRule returns the rule for a host that counts in a namespace.
func (m *Mesh) firstRule(host, namespace string) *rule {
	var best *rule
	for k := range m.rules.byHost[host] {
		r := m.rules.byKey[k]
		usable := r.outlier != nil && !r.unused && (k.namespace == namespace || k.namespace == m.opts.RootNamespace)
		if usable && (best == nil || r.before(best, namespace)) {
			best = r
		}
	}
	return best
}

func (r *rule) before(q *rule, namespace string) bool {
	if own := r.key.namespace == namespace; own != (q.key.namespace == namespace) {
		return own
	}
	return cmp.Or(r.created.Compare(q.created), compareKeys(r.key, q.key)) < 0
}
