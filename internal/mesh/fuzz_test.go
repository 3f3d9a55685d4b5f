package mesh

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/reason"
)

func seedMessages(f *testing.F) {
	for _, m := range []proto.Message{
		pod("a", in("shop/pay"), "10.0.0.1", "fd00::1"), svc("shop", "pay", nil, "10.96.0.1", "10.0.0.0/8"),
		policy("shop", "p", security.Scope_NAMESPACE, security.Action_DENY, &security.Match{NotPrincipals: []*security.StringMatch{{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}}}),
	} {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, raw, "shop/pay")
	}
}

// FuzzApply: whatever comes, applying and removing it leaves the indexes of the rest intact.
func FuzzApply(f *testing.F) {
	seedMessages(f)
	f.Fuzz(func(t *testing.T, a, p []byte, name string) {
		s := NewStore(Options{})
		apply(t, s, Update{UpsertAddress: []*workload.Address{pod("rest", in("shop/rest"), "10.9.9.9"), svc("shop", "rest", nil, "10.96.9.9")}})
		u := synced
		_ = u.AddAddress(name, "1", &anypb.Any{TypeUrl: AddressType, Value: a})
		u.AddPolicy(name, "1", &anypb.Any{TypeUrl: AuthorizationType, Value: p})
		var addr workload.Address
		if proto.Unmarshal(a, &addr) == nil {
			u.UpsertAddress = append(u.UpsertAddress, &addr)
		}
		var pol security.Authorization
		if proto.Unmarshal(p, &pol) == nil {
			u.UpsertPolicy = append(u.UpsertPolicy, &pol)
		}
		s.Apply(u)
		walk(t, s.Snapshot())
		var file bytes.Buffer
		if err := s.Save(&file); s.Snapshot().Synced() && err != nil {
			t.Fatal(err)
		}
		if l := NewStore(Options{}); s.Snapshot().Synced() {
			if err := l.Load(&file); err != nil {
				t.Fatalf("what was saved does not load: %v", err)
			}
		}
		rm := Update{}
		for n := range s.Snapshot().AddressVersions() {
			if n != uid("rest") && n != "shop/rest" {
				rm.RemoveAddress = append(rm.RemoveAddress, n)
			}
		}
		for n := range s.Snapshot().PolicyVersions() {
			rm.RemovePolicy = append(rm.RemovePolicy, n)
		}
		s.Apply(rm)
		walk(t, s.Snapshot())
	})
}

// walk checks that the indexes agree with the resources.
func walk(t *testing.T, snap *Snapshot) {
	t.Helper()
	for w := range snap.Workloads() {
		for _, a := range w.Addrs {
			if got := snap.WorkloadAt(a); got == nil && !w.HostNetwork && w.Network == "" {
				t.Fatalf("%s is not found at %s", w.UID, a)
			}
		}
		if v := snap.Judge(w, webFlow()); v.Allowed == (v.Reason != reason.None) {
			t.Fatalf("verdict %+v", v)
		}
	}
	for v := range snap.Services() {
		for _, p := range v.VIPs {
			if snap.ServiceAt(p.Addr(), v.Namespace) == nil {
				t.Fatalf("%s is not found at %s", v.Key, p)
			}
		}
		snap.Endpoints(v)
	}
}

// FuzzLoad: bodies with a right checksum, and files as they are.
func FuzzLoad(f *testing.F) {
	s := NewStore(Options{})
	s.Apply(Update{
		UpsertAddress: []*workload.Address{pod("a", in("shop/pay"), "10.0.0.1"), svc("shop", "pay", nil, "10.96.0.1")},
		UpsertPolicy:  []*security.Authorization{policy("shop", "p", 1, 1, from("x"))}, AddressesComplete: true, PoliciesComplete: true,
	})
	var file bytes.Buffer
	if err := s.Save(&file); err != nil {
		f.Fatal(err)
	}
	body, _ := bodyOf(file.Bytes())
	f.Add(file.Bytes())
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, file := range [][]byte{b, sealed(b)} {
			l := NewStore(Options{})
			if err := l.Load(bytes.NewReader(file)); err != nil {
				if w, v, p := l.Snapshot().Size(); w+v+p != 0 || l.Snapshot().Synced() {
					t.Fatalf("something was loaded in spite of %v", err)
				}
				continue
			}
			walk(t, l.Snapshot())
		}
	})
}

func sealed(body []byte) []byte {
	file := append([]byte(magic), body...)
	sum := sha256.Sum256(file)
	return append(file, sum[:]...)
}
