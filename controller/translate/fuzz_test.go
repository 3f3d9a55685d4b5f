package translate

import (
	"os"
	"path/filepath"
	"testing"

	istiosecurity "istio.io/client-go/pkg/apis/security/v1"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/objects"
)

// FuzzObjects: whatever a user writes, nothing panics, no match is empty, a proxy
// understands what is sent, and what cannot be understood admits nobody.
func FuzzObjects(f *testing.F) {
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := objects.Decode(data, objects.Limits{})
		if err != nil {
			return
		}
		m := NewMesh(Options{})
		for _, d := range docs {
			for _, obj := range []objects.Object{d.Object, d.StandIn} {
				if obj == nil {
					continue
				}
				put(t, m, obj)
				if ap, ok := obj.(*istiosecurity.AuthorizationPolicy); ok {
					checkPolicy(t, ap)
				}
			}
		}
		store(t, m)
	})
}

func checkPolicy(t *testing.T, ap *istiosecurity.AuthorizationPolicy) {
	o := Options{}
	o.fill()
	p := o.authorization(ap)
	if p.message == nil {
		if p.bad {
			t.Fatalf("a policy that cannot be understood is not sent: %+v", p.status)
		}
		return
	}
	noEmptyMatch(t, p.message)
	compiled, err := authz.FromProto(p.message)
	if err != nil {
		t.Fatalf("a proxy refuses what is sent: %v", err)
	}
	if p.bad == p.status.Accepted || p.bad != (compiled.Unreadable() != "") {
		t.Fatalf("bad %v, accepted %v, unreadable %q", p.bad, p.status.Accepted, compiled.Unreadable())
	}
	flow := &authz.Flow{Source: identity.ID{TrustDomain: "cluster.local", Namespace: "a", ServiceAccount: "b"}}
	if p.bad && !compiled.DryRun() && authz.Judge(flow, []*authz.Policy{compiled}, nil).Allowed {
		t.Fatalf("a policy that cannot be understood admits: %+v", p.status)
	}
}

func noEmptyMatch(t *testing.T, a *security.Authorization) {
	for i, r := range a.Rules {
		for j, c := range r.Clauses {
			if len(c.Matches) == 0 {
				t.Fatalf("rules[%d].clauses[%d]: no match", i, j)
			}
			for k, m := range c.Matches {
				if isEmpty(m) {
					t.Fatalf("rules[%d].clauses[%d].matches[%d]: empty", i, j, k)
				}
			}
		}
	}
}
