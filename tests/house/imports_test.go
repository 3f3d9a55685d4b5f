package house

import (
	"slices"
	"strings"
	"testing"
)

var parts = []string{"agent", "ztunnel", "controller", "gateway"}

// kubernetes are modules that a proxy must stay free of: they are large, and a proxy has no business
// with the API server.
var kubernetes = []string{"k8s.io/", "sigs.k8s.io/", "istio.io/"}

// forbidden says why p must not depend on dep; "" if it may.
func forbidden(p, dep string) string {
	from, to := partOf(p), partOf(dep)
	switch {
	case slices.Contains(parts, from) && slices.Contains(parts, to) && from != to:
		return "a part speaks to another over a wire only"
	case from == "internal" && slices.Contains(append(parts, "cmd"), to):
		return "internal packages are below the parts"
	case from == "bpf" && slices.Contains(append(parts, "internal", "cmd"), to):
		return "bpf stands alone"
	case to == "bpf" && from != "bpf" && from != "agent" && from != "cmd" && from != "tests":
		return "only the agent speaks to the kernel's programs"
	case to == "cmd" && from != "cmd" && from != "tests":
		return "mains are at the top"
	case (from == "ztunnel" || from == "gateway") && hasPrefix(dep, kubernetes):
		return "proxies stay free of Kubernetes and Istio modules"
	}
	return ""
}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

func TestWhoImportsWhom(t *testing.T) {
	for _, p := range packages(t) {
		for _, dep := range p.Deps {
			if why := forbidden(p.ImportPath, dep); why != "" {
				t.Errorf("%s depends on %s: %s", p.ImportPath, dep, why)
			}
		}
	}
}

// The thin mains of the proxies decide what is linked into them.
func TestProxiesCarryNoKubernetes(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath != module+"/cmd/ambit-ztunnel" && p.ImportPath != module+"/cmd/ambit-gateway" {
			continue
		}
		for _, dep := range p.Deps {
			if hasPrefix(dep, kubernetes) {
				t.Errorf("%s links %s", p.ImportPath, dep)
			}
		}
	}
}

func TestRulesRefuse(t *testing.T) {
	m := module + "/"
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{m + "agent", m + "bpf", true},
		{m + "agent/zds", m + "agent", true},
		{m + "cmd/ambit", m + "ztunnel/admin", true},
		{m + "ztunnel/decide", m + "internal/mesh", true},
		{m + "controller/xds", "k8s.io/client-go/tools/cache", true},
		{m + "agent", m + "ztunnel/engine", false},
		{m + "ztunnel/engine", m + "bpf", false},
		{m + "internal/mesh", m + "ztunnel/engine", false},
		{m + "ztunnel/zds", "k8s.io/api/core/v1", false},
		{m + "controller/ca", m + "cmd/ambit", false},
	} {
		if got := forbidden(c.from, c.to) == ""; got != c.ok {
			t.Errorf("forbidden(%s, %s): allowed %v, want %v", c.from, c.to, got, c.ok)
		}
	}
}
