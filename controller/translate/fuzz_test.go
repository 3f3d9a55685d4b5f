package translate

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	istioapi "istio.io/api/security/v1beta1"
	istiosecurity "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		for doc := range bytes.SplitSeq(data, []byte("\n---\n")) {
			f.Add(doc)
		}
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
	o := Options{}.filled()
	p := o.authorization(ap)
	if p.message == nil {
		if p.bad {
			t.Fatalf("a policy that cannot be understood is not sent: %+v", p.status)
		}
		return
	}
	noEmptyMatch(t, p.message)
	noWiderThanWritten(t, ap, p)
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

// FuzzSpec does the same with specs that need not come from YAML: fields of later versions, missing
// elements.
func FuzzSpec(f *testing.F) {
	files, err := filepath.Glob("testdata/policy-*.in.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		docs, err := objects.Decode(data, objects.Limits{})
		if err != nil {
			f.Fatal(err)
		}
		for _, d := range docs {
			ap, ok := d.Object.(*istiosecurity.AuthorizationPolicy)
			if !ok {
				continue
			}
			raw, err := proto.Marshal(&ap.Spec)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ap := &istiosecurity.AuthorizationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}}
		if proto.Unmarshal(raw, &ap.Spec) == nil {
			checkPolicy(t, ap)
		}
	})
}

// noWiderThanWritten: an ALLOW rule without conditions must have been written without any.
func noWiderThanWritten(t *testing.T, ap *istiosecurity.AuthorizationPolicy, p *policy) {
	if p.message.Action != security.Action_ALLOW || p.bad {
		return
	}
	for _, r := range p.message.Rules {
		open := slices.ContainsFunc(ap.Spec.Rules, func(r *istioapi.Rule) bool { return r != nil && proto.Size(r) == 0 })
		if len(r.Clauses) == 0 && !open {
			t.Fatalf("a rule with conditions allows everything: %v", ap.Spec.Rules)
		}
	}
}

// A field that is not known may be a restriction: passing over it would open.
func TestUnknownFieldsAreRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"of the policy":   "\xf8\x07\x01",
		"of a rule":       "\x12\x03\xf8\x07\x01",
		"of a source":     "\x12\x07\x0a\x05\x0a\x03\xf8\x07\x01",
		"beside a source": "\x12\x05\x0a\x03\xf8\x07\x01",
	} {
		ap := &istiosecurity.AuthorizationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}}
		if err := proto.Unmarshal([]byte(raw), &ap.Spec); err != nil {
			t.Fatal(err)
		}
		o := Options{}.filled()
		if p := o.authorization(ap); !p.bad {
			t.Errorf("%s: a field of a later version is passed over: %v", name, p.message)
		}
	}
}

// TestTooLongForAProxy: what a proxy would refuse stands closed here already, and the status says so.
func TestTooLongForAProxy(t *testing.T) {
	ap := &istiosecurity.AuthorizationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}}
	ap.Spec.Rules = []*istioapi.Rule{{From: []*istioapi.Rule_From{{Source: &istioapi.Source{Namespaces: []string{strings.Repeat("x", 3000)}}}}}}
	checkPolicy(t, ap)
	if p := (Options{}).filled().authorization(ap); !p.bad || len(p.message.Rules) != 0 {
		t.Errorf("bad %v, message %v", p.bad, p.message)
	}
}
