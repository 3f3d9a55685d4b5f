package mesh

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// The trie against a Go map, with hashes that collide on purpose.
func TestTrieIsAMap(t *testing.T) {
	for name, hash := range map[string]func(string) uint64{
		"good":     func(s string) uint64 { return uint64(len(s))*0x9e3779b97f4a7c15 ^ uint64(s[len(s)-1])<<32 },
		"constant": func(string) uint64 { return 42 },
		"low bits": func(s string) uint64 { return uint64(s[len(s)-1]) << 58 },
	} {
		tr, ref := newTrie[string, int](hash), map[string]int{}
		var old []trie[string, int]
		var oldRef []map[string]int
		var b *batch
		x := uint32(1)
		for i := range 3000 {
			if i%7 == 0 {
				b = &batch{}
			}
			x = x*1664525 + 1013904223
			k := fmt.Sprint("k", x>>16%97)
			if x>>8%3 == 0 {
				tr.remove(b, k)
				delete(ref, k)
			} else {
				tr.set(b, k, i)
				ref[k] = i
			}
			if i%7 == 6 && i%100 < 7 { // a published version, which must not change any more
				old, oldRef = append(old, tr), append(oldRef, cloneMap(ref))
			}
		}
		old, oldRef = append(old, tr), append(oldRef, ref)
		for v := range old {
			n := 0
			for range old[v].values() {
				n++
			}
			if n != len(oldRef[v]) || old[v].size != n {
				t.Fatalf("%s, version %d: %d values, size %d, want %d", name, v, n, old[v].size, len(oldRef[v]))
			}
			for _, k := range []string{"k0", "k1", "k96", "other"} {
				want, known := oldRef[v][k]
				if got, ok := old[v].get(k); got != want || ok != known {
					t.Fatalf("%s, version %d: %q is %d, %v", name, v, k, got, ok)
				}
			}
			for k, want := range oldRef[v] {
				if got, ok := old[v].get(k); !ok || got != want {
					t.Fatalf("%s, version %d: %q is %d, want %d", name, v, k, got, want)
				}
			}
		}
	}
}

func cloneMap(m map[string]int) map[string]int {
	out := map[string]int{}
	maps.Copy(out, m)
	return out
}

func bigStore(tb testing.TB, n int) *Store {
	tb.Helper()
	u := synced
	for i := range n {
		u.UpsertAddress = append(u.UpsertAddress, pod(fmt.Sprint("p", i), in(fmt.Sprintf("shop/s%d", i/10)), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255|1)))
	}
	for i := range n / 10 {
		u.UpsertAddress = append(u.UpsertAddress, svc("shop", fmt.Sprint("s", i), nil, fmt.Sprintf("172.16.%d.%d", i>>8&255, i&255|1), fmt.Sprintf("fd01:%x::/64", i)))
	}
	u.UpsertPolicy = append(u.UpsertPolicy, policy("shop", "allow", security.Scope_NAMESPACE, security.Action_ALLOW, from("shop")))
	s := NewStore(Options{})
	apply(tb, s, u)
	return s
}

func TestLookupsAllocateNothing(t *testing.T) {
	snap := bigStore(t, 1000).Snapshot()
	a, v, six, f := netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("172.16.0.1"), netip.MustParseAddr("fd01:5::9"), webFlow()
	if n := testing.AllocsPerRun(100, func() {
		w := snap.WorkloadAt(a)
		s := snap.ServiceAt(v, "shop")
		if w == nil || s == nil || len(snap.Endpoints(s)) == 0 || snap.ServiceAt(six, "x") == nil || snap.Workload(w.UID) != w || !snap.Judge(w, f).Allowed {
			t.Fatal("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	snap, a := bigStore(b, 10_000).Snapshot(), netip.MustParseAddr("172.16.0.1")
	w := netip.MustParseAddr("10.0.1.1")
	b.ReportAllocs()
	for b.Loop() {
		if len(snap.Endpoints(snap.ServiceAt(a, "shop"))) == 0 || snap.WorkloadAt(w) == nil {
			b.Fatal("not found")
		}
	}
}

func BenchmarkApplyOne(b *testing.B) {
	for _, n := range []int{100, 10_000, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := bigStore(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				s.Apply(upsert(pod("p1", func(w *workload.Workload) { in("shop/s0")(w); w.Node = fmt.Sprint(i) }, "10.0.0.1")))
			}
		})
	}
}
