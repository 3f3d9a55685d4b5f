package mesh

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/reason"
)

func webFlow() *authz.Flow {
	return &authz.Flow{
		Source:   identity.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"},
		SourceIP: netip.MustParseAddr("10.0.0.1"), Dest: netip.MustParseAddrPort("10.0.0.2:80"),
	}
}

func TestNothingBeforeSync(t *testing.T) {
	s := NewStore(Options{})
	judge := func() reason.Reason {
		snap := s.Snapshot()
		return snap.Judge(snap.Workload(uid("a")), webFlow()).Reason
	}
	apply(t, s, upsert(pod("a", nil, "10.0.0.2")))
	for _, u := range []Update{{}, {AddressesComplete: true}} {
		apply(t, s, u)
		if got := judge(); got != reason.NotSynced {
			t.Errorf("after %+v: %q", u, got)
		}
	}
	changed := s.Changed()
	apply(t, s, Update{PoliciesComplete: true})
	select {
	case <-changed:
	default:
		t.Error("becoming synced was not told")
	}
	if got := judge(); got != reason.None {
		t.Errorf("synced: %q", got)
	}
	apply(t, s, Update{})
	if got := judge(); got != reason.None {
		t.Errorf("sync was lost: %q", got)
	}
	if got := s.Snapshot().Judge(nil, webFlow()).Reason; got != reason.WorkloadUnknown {
		t.Errorf("no workload: %q", got)
	}
}

var synced = Update{AddressesComplete: true, PoliciesComplete: true}

func TestBadPolicy(t *testing.T) {
	good := policy("shop", "p", security.Scope_NAMESPACE, security.Action_ALLOW, from("shop"))
	bad := policy("shop", "p", security.Scope_NAMESPACE, security.Action_ALLOW, &security.Match{DestinationPorts: []uint32{99999}})
	for _, tt := range []struct {
		name   string
		before []*security.Authorization
		then   Update
		want   reason.Reason
	}{
		{"a bad one stands", nil, Update{UpsertPolicy: []*security.Authorization{bad}}, reason.PolicyUnreadable},
		{"the earlier good one stays", []*security.Authorization{good}, Update{UpsertPolicy: []*security.Authorization{bad}}, reason.None},
		{"undecodable stands", nil, Update{UnreadablePolicy: map[string]string{"shop/p": "garbage"}}, reason.PolicyUnreadable},
		{"undecodable, the earlier good one stays", []*security.Authorization{good}, Update{UnreadablePolicy: map[string]string{"shop/p": "garbage"}}, reason.None},
		{"undecodable elsewhere", nil, Update{UnreadablePolicy: map[string]string{"other/p": "garbage"}}, reason.None},
	} {
		s := NewStore(Options{})
		apply(t, s, synced)
		apply(t, s, Update{UpsertAddress: []*workload.Address{pod("a", nil, "10.0.0.2")}, UpsertPolicy: tt.before, PolicyVersion: []string{"v1"}})
		if errs := s.Apply(tt.then); len(errs) != 1 {
			t.Errorf("%s: errors %v", tt.name, errs)
		}
		snap := s.Snapshot()
		if got := snap.Judge(snap.Workload(uid("a")), webFlow()).Reason; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		apply(t, s, Update{UpsertPolicy: []*security.Authorization{good}, RemovePolicy: []string{"other/p"}})
		snap = s.Snapshot()
		if v := snap.Judge(snap.Workload(uid("a")), webFlow()); !v.Allowed {
			t.Errorf("%s: a good version does not replace it: %+v", tt.name, v)
		}
	}
}

func TestTooMany(t *testing.T) {
	s := NewStore(Options{MaxResources: 2})
	apply(t, s, synced)
	if errs := s.Apply(upsert(pod("a", nil), pod("b", nil), pod("c", nil), svc("shop", "x", nil))); len(errs) != 2 || !errors.Is(errs[0], errTooMany) {
		t.Errorf("errors %v", errs)
	}
	p := func(n string) *security.Authorization {
		return policy("shop", n, security.Scope_NAMESPACE, security.Action_ALLOW, from("shop"))
	}
	if errs := s.Apply(Update{UpsertPolicy: []*security.Authorization{p("1"), p("2"), p("3")}}); len(errs) != 1 {
		t.Errorf("errors %v", errs)
	}
	if s.Snapshot().Synced() {
		t.Error("a policy that could not be held opened the mesh")
	}
}

func TestSubscribers(t *testing.T) {
	s := NewStore(Options{})
	var got []Change
	cancel := s.Subscribe(func(c Change) { got = append(got, c) })
	apply(t, s, Update{UpsertAddress: []*workload.Address{pod("a", nil), svc("shop", "x", nil)}, UpsertPolicy: []*security.Authorization{policy("shop", "p", 0, 0, nil)}})
	g := s.Snapshot().Generation()
	apply(t, s, Update{UpsertAddress: []*workload.Address{pod("a", nil), svc("shop", "x", nil)}, AddressVersion: []string{"2", "2"}, UpsertPolicy: []*security.Authorization{policy("shop", "p", 0, 0, nil)}})
	if s.Snapshot().Generation() != g {
		t.Error("the same content again made a new generation")
	}
	if v := s.Snapshot().AddressVersions(); v[uid("a")] != "2" || v["shop/x"] != "2" {
		t.Errorf("versions %v", v)
	}
	cancel()
	apply(t, s, Update{RemoveAddress: []string{uid("a")}})
	if len(got) != 1 || !slices.Equal(got[0].Workloads, []string{uid("a")}) || !slices.Equal(got[0].Services, []string{"shop/x"}) || !slices.Equal(got[0].Policies, []string{"shop/p"}) || got[0].Snapshot.Generation() != g {
		t.Errorf("told %+v", got)
	}
}

func TestSaveLoad(t *testing.T) {
	s := NewStore(Options{})
	var file bytes.Buffer
	if err := s.Save(&file); !errors.Is(err, ErrNotSynced) {
		t.Errorf("saved what is not complete: %v", err)
	}
	bad := policy("shop", "bad", security.Scope_NAMESPACE, security.Action_DENY, &security.Match{DestinationPorts: []uint32{99999}})
	s.Apply(Update{
		UpsertAddress: []*workload.Address{pod("a", in("shop/pay"), "10.0.0.1"), pod("b", nil, "10.0.0.2"), svc("shop", "pay", nil, "10.96.0.1")}, AddressVersion: []string{"1", "2", "3"},
		UpsertPolicy: []*security.Authorization{policy("other", "p", security.Scope_NAMESPACE, security.Action_ALLOW, from("x")), bad}, PolicyVersion: []string{"4", "5"},
		UnreadablePolicy:  map[string]string{"third/p": "garbage"},
		AddressesComplete: true, PoliciesComplete: true, Seen: map[string]string{AddressType: "17"},
	})
	apply(t, s, upsert(pod("z", nil, "10.0.0.2"), pod("b", func(w *workload.Workload) { w.Node = "n2" }, "10.0.0.2")))
	if err := s.Save(&file); err != nil {
		t.Fatal(err)
	}
	l := NewStore(Options{})
	if err := l.Load(bytes.NewReader(file.Bytes())); err != nil {
		t.Fatal(err)
	}
	a, b := s.Snapshot(), l.Snapshot()
	if d := cmp.Diff(a.AddressVersions(), b.AddressVersions()) + cmp.Diff(a.PolicyVersions(), b.PolicyVersions()) + cmp.Diff(a.Seen(), b.Seen()); d != "" {
		t.Errorf("versions: %s", d)
	}
	if !b.Synced() || len(b.Endpoints(b.Service("shop/pay"))) != 1 {
		t.Error("not synced, or endpoints are missing")
	}
	if w := b.WorkloadAt(netip.MustParseAddr("10.0.0.2")); w == nil || w.Name != "z" {
		t.Errorf("the shared address went to %v", w)
	}
	if v := b.Judge(b.Workload(uid("a")), webFlow()); v.Reason != reason.PolicyUnreadable {
		t.Errorf("a policy that stood opens after a restart: %+v", v)
	}
	if b.Policy("third/p") == nil || b.PolicyVersions()["shop/bad"] != "" {
		t.Error("refused policies: gone, or not asked for again")
	}
	if m := b.AddressMessage(uid("b")); m.GetWorkload().GetNode() != "n2" {
		t.Errorf("message %v", m)
	}
}

func TestLoadRefusesWhatIsNotWhole(t *testing.T) {
	s := NewStore(Options{})
	apply(t, s, Update{UpsertAddress: []*workload.Address{pod("a", nil, "10.0.0.1")}, AddressesComplete: true, PoliciesComplete: true})
	var file bytes.Buffer
	if err := s.Save(&file); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	for i := range whole {
		for name, b := range map[string][]byte{
			"cut":     whole[:i],
			"flipped": append(append(slices.Clone(whole[:i]), whole[i]^1), whole[i+1:]...),
		} {
			l := NewStore(Options{})
			if err := l.Load(bytes.NewReader(b)); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s at %d: %v", name, i, err)
			}
			if w, _, _ := l.Snapshot().Size(); w != 0 || l.Snapshot().Synced() {
				t.Fatalf("%s at %d: something was loaded", name, i)
			}
		}
	}
}

// The trie against a Go map, with hashes that collide on purpose.
