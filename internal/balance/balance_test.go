package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
)

// rig is a balancer with a clock and dice of its own.
type rig struct {
	*Balancer
	now      time.Time
	svc      *mesh.Service
	eps      []mesh.Endpoint
	ejected  []string
	restored []string
}

func (r *rig) Ejected(s EndpointState)  { r.ejected = append(r.ejected, s.Workload) }
func (r *rig) Restored(s EndpointState) { r.restored = append(r.restored, s.Workload) }

func newRig(endpoints int, o mesh.Outlier) *rig {
	r := &rig{now: time.Unix(1000, 0), svc: &mesh.Service{Key: "shop/pay", Outlier: o}}
	dice := rand.New(rand.NewPCG(1, 2))
	r.Balancer = New(Options{Now: func() time.Time { return r.now }, Rand: dice.Uint64, Observer: r})
	for i := range endpoints {
		r.eps = append(r.eps, endpoint(i, 1))
	}
	return r
}

func endpoint(i int, capacity uint32, addrs ...string) mesh.Endpoint {
	w := &mesh.Workload{UID: fmt.Sprint("uid", i), Capacity: capacity}
	if len(addrs) == 0 {
		addrs = []string{fmt.Sprintf("10.0.%d.%d", i>>8, i&255)}
	}
	for _, a := range addrs {
		w.Addrs = append(w.Addrs, netip.MustParseAddr(a))
	}
	return mesh.Endpoint{Workload: w}
}

// five is the plain form of the DestinationRule that the demo uses.
var five = mesh.Outlier{ConsecutiveFailures: 5, IntervalMillis: 10_000, BaseEjectionMillis: 30_000, MaxEjectionPercent: 50}

func who(n int) Want {
	return Want{Source: fmt.Sprint("pod", n), Identity: identity.ID{TrustDomain: "td", Namespace: "ns", ServiceAccount: fmt.Sprint("sa", n)}}
}

// at makes an attempt of w at endpoint i, whatever the balancer thinks of it.
func (r *rig) at(t testing.TB, i int, o Outcome, w Want) {
	t.Helper()
	tried := []*mesh.Workload{}
	for j, e := range r.eps {
		if j != i {
			tried = append(tried, e.Workload)
		}
	}
	_, l, ok := r.Pick(r.svc, r.eps, tried, w)
	if !ok {
		t.Fatalf("endpoint %d cannot be reached at all", i)
	}
	l.Report(o, w.Source)
	l.Release()
}

// seen returns how often each endpoint is picked in n picks, all released at once.
func (r *rig) seen(n int, w Want) map[string]int {
	got := map[string]int{}
	for range n {
		if e, l, ok := r.Pick(r.svc, r.eps, nil, w); ok {
			got[e.Workload.UID]++
			l.Release()
		}
	}
	return got
}

func TestFiveFailuresEject(t *testing.T) {
	for _, o := range []Outcome{Refused, TimedOut, TLSFailure, Unavailable} {
		r := newRig(2, five)
		for range 4 {
			r.at(t, 0, o, who(1))
		}
		if got := r.seen(100, who(2)); got["uid0"] == 0 {
			t.Fatalf("%d: ejected after four", o)
		}
		r.at(t, 0, o, who(1))
		if got := r.seen(100, who(2)); got["uid0"] != 0 {
			t.Errorf("%d: picked %d times after five", o, got["uid0"])
		}
		if len(r.ejected) != 1 || r.ejected[0] != "uid0" {
			t.Errorf("%d: told %v", o, r.ejected)
		}
		r.now = r.now.Add(30*time.Second - 1)
		if got := r.seen(100, who(2)); got["uid0"] != 0 {
			t.Errorf("%d: back too early", o)
		}
		r.now = r.now.Add(1)
		if got := r.seen(100, who(2)); got["uid0"] == 0 {
			t.Errorf("%d: not back after its time", o)
		}
		if len(r.restored) != 1 {
			t.Errorf("%d: told %v", o, r.restored)
		}
	}
}

func TestSuccessEndsTheStreak(t *testing.T) {
	r := newRig(2, five)
	for range 20 {
		for range 4 {
			r.at(t, 0, Refused, who(1))
		}
		r.at(t, 0, OK, who(1))
	}
	if len(r.ejected) != 0 {
		t.Errorf("ejected %v", r.ejected)
	}
}

func TestNeutralSaysNothing(t *testing.T) {
	r := newRig(2, five)
	for range 1000 {
		r.at(t, 0, Neutral, who(1))
	}
	for range 4 {
		r.at(t, 0, Refused, who(1))
	}
	r.at(t, 0, Neutral, who(1))
	r.at(t, 0, Refused, who(1)) // the fifth in a row: neutral ones do not count as success
	if len(r.ejected) != 1 {
		t.Errorf("ejected %v", r.ejected)
	}
}

func (r *rig) fail(t testing.TB, i int) {
	t.Helper()
	for range 5 {
		r.at(t, i, Refused, who(1))
	}
}

func TestEjectionsGrow(t *testing.T) {
	r := newRig(2, five)
	for _, want := range []time.Duration{30, 60, 90} {
		r.fail(t, 0)
		if got := r.State()[0].Until.Sub(r.now); got != want*time.Second {
			t.Errorf("ejected for %v, want %v", got, want*time.Second)
		}
		r.now = r.now.Add(want * time.Second)
	}
	r.seen(1, who(2))
	r.at(t, 0, OK, who(1))
	r.now = r.now.Add(20 * time.Second) // two quiet intervals
	r.fail(t, 0)
	if got := r.State()[0].Until.Sub(r.now); got != 60*time.Second {
		t.Errorf("after two quiet intervals: %v, want 60 s", got)
	}
	r.now = r.now.Add(time.Hour)
	r.State()
	r.now = r.now.Add(time.Hour)
	r.fail(t, 0)
	if got := r.State()[0].Until.Sub(r.now); got != 30*time.Second {
		t.Errorf("after a quiet hour: %v, want 30 s", got)
	}
}

func TestEjectionHasALimit(t *testing.T) {
	h := &host{service: &service{outlier: five}}
	for times, want := range map[int]time.Duration{10: 300 * time.Second, 11: 300 * time.Second, math.MaxInt32: 300 * time.Second} {
		if got := h.duration(times); got != want {
			t.Errorf("%d times: %v", times, got)
		}
	}
	h.service.outlier.BaseEjectionMillis = 3600_000
	if got := h.duration(5); got != time.Hour {
		t.Errorf("a base above the limit: %v", got)
	}
}

func TestMaxPercent(t *testing.T) {
	for _, tt := range []struct {
		endpoints int
		percent   uint32
		want      int
	}{{2, 50, 1}, {3, 50, 1}, {4, 50, 2}, {4, 10, 1}, {4, 100, 4}, {1, 50, 1}, {4, 0, 0}} {
		o := five
		o.MaxEjectionPercent = tt.percent
		r := newRig(tt.endpoints, o)
		for i := range tt.endpoints {
			r.fail(t, i)
		}
		if len(r.ejected) != tt.want {
			t.Errorf("%d endpoints, %d%%: ejected %v, want %d", tt.endpoints, tt.percent, r.ejected, tt.want)
		}
		want := tt.endpoints - tt.want
		if want == 0 {
			want = tt.endpoints // all ejected: all are picked
		}
		if got := r.seen(300, who(2)); len(got) != want {
			t.Errorf("%d endpoints, %d%%: picks %v, want %d of them", tt.endpoints, tt.percent, got, want)
		}
	}
}

func TestOutlierOff(t *testing.T) {
	r := newRig(2, mesh.Outlier{})
	for range 100 {
		r.at(t, 0, Refused, who(1))
		r.at(t, 0, EarlyReset, who(2))
	}
	if got := r.seen(100, who(1)); len(r.ejected) != 0 || got["uid0"] == 0 {
		t.Error("ejected without settings")
	}
	r = newRig(2, five)
	r.fail(t, 0)
	r.svc = &mesh.Service{Key: "shop/pay"} // switched off
	if got := r.seen(100, who(1)); got["uid0"] == 0 {
		t.Error("stays ejected after the rule is gone")
	}
}

func TestHostilePodEjectsNothingForOthers(t *testing.T) {
	r := newRig(2, five)
	evil := who(66)
	for range 1000 {
		r.at(t, 0, EarlyReset, evil)
		r.at(t, 1, EarlyReset, evil)
		r.at(t, 0, Neutral, evil)
	}
	got := r.seen(200, who(1))
	if len(r.ejected) != 0 || got["uid0"] < 60 || got["uid1"] < 60 {
		t.Errorf("another pod: picks %v, ejected %v", got, r.ejected)
	}
	if st := r.State()[0]; len(st.EjectedFor) != 1 || st.EjectedFor[0] != "pod66" {
		t.Errorf("for itself: %+v", st)
	}
}

func TestEarlyResetEjectsForOnePod(t *testing.T) {
	r := newRig(2, five)
	for range 5 {
		r.at(t, 0, EarlyReset, who(1))
	}
	if got := r.seen(100, who(1)); got["uid0"] != 0 {
		t.Errorf("the pod itself still picks it: %v", got)
	}
	same := who(1)
	same.Source = "another pod of the same identity"
	for range 5 {
		r.at(t, 0, EarlyReset, same)
	}
	if got := r.seen(100, who(3)); got["uid0"] == 0 || len(r.ejected) != 0 {
		t.Errorf("two pods of one identity ejected it for all: %v", got)
	}
	r.now = r.now.Add(30 * time.Second)
	if got := r.seen(100, who(1)); got["uid0"] == 0 {
		t.Error("not back for the pod after its time")
	}
}

func TestTwoIdentitiesAgree(t *testing.T) {
	r := newRig(2, five)
	for n := 1; n <= 2; n++ {
		for range 5 {
			r.at(t, 0, EarlyReset, who(n))
		}
	}
	if got := r.seen(100, who(3)); got["uid0"] != 0 || len(r.ejected) != 1 {
		t.Errorf("picks %v, ejected %v", got, r.ejected)
	}
}

func TestUnauthenticatedSourcesDoNotAgree(t *testing.T) {
	r := newRig(2, five)
	for n := range 3 {
		for range 5 {
			r.at(t, 0, EarlyReset, Want{Source: fmt.Sprint("plain", n)})
		}
	}
	if len(r.ejected) != 0 {
		t.Errorf("ejected %v", r.ejected)
	}
}

// A pod that breaks its own network sees every connect fail; where others succeed it is alone.
func TestBrokenPodEjectsForItselfWhileOthersSucceed(t *testing.T) {
	r := newRig(2, five)
	for range 200 {
		r.at(t, 0, OK, who(1))
		for range 7 {
			r.at(t, 0, TimedOut, who(66))
		}
		r.now = r.now.Add(time.Second)
	}
	if len(r.ejected) != 0 {
		t.Errorf("ejected for all: %v", r.ejected)
	}
	if got := r.seen(100, who(66)); got["uid0"] != 0 {
		t.Errorf("the broken pod still picks it: %v", got)
	}
	// When the endpoint fails for others too, it goes for all.
	for range 5 {
		r.at(t, 0, TimedOut, who(66))
		r.at(t, 0, TimedOut, who(1))
	}
	if len(r.ejected) != 1 {
		t.Errorf("failing for two pods: ejected %v", r.ejected)
	}
}

func TestSourcesAreBounded(t *testing.T) {
	r := newRig(1, five)
	for n := range 10 * maxSources {
		r.now = r.now.Add(time.Millisecond)
		r.at(t, 0, EarlyReset, who(n))
	}
	if n := len(r.services["shop/pay"].hosts["uid0"].sources); n != maxSources {
		t.Errorf("%d sources are kept", n)
	}
}

func TestRetryGoesElsewhere(t *testing.T) {
	r := newRig(3, five)
	for range 50 {
		var tried []*mesh.Workload
		for range 3 {
			e, l, ok := r.Pick(r.svc, r.eps, tried, who(1))
			if !ok || wasTried(tried, e.Workload) {
				t.Fatalf("after %d: %v %v", len(tried), e.Workload, ok)
			}
			l.Report(Neutral, "")
			l.Release()
			copied := *e.Workload // as of another snapshot
			tried = append(tried, &copied)
		}
		if _, _, ok := r.Pick(r.svc, r.eps, tried, who(1)); ok {
			t.Fatal("picked one that was tried")
		}
	}
	r.fail(t, 0)
	e, _, ok := r.Pick(r.svc, r.eps, []*mesh.Workload{r.eps[1].Workload, r.eps[2].Workload}, who(1))
	if !ok || e.Workload.UID != "uid0" {
		t.Error("with nothing else left the ejected one is better than a refusal")
	}
}

func TestNoService(t *testing.T) {
	b := New(Options{})
	a, c := endpoint(1, 0), endpoint(2, 1)
	e, l, ok := b.Pick(nil, []mesh.Endpoint{a, c}, []*mesh.Workload{a.Workload}, Want{})
	if !ok || e.Workload != c.Workload {
		t.Errorf("got %v, %v", e.Workload, ok)
	}
	l.Report(Refused, "")
	l.Release()
	if _, _, ok := b.Pick(nil, nil, nil, Want{}); ok {
		t.Error("picked nothing")
	}
	if _, _, ok := b.Pick(&mesh.Service{Key: "x/y"}, nil, nil, Want{}); ok {
		t.Error("picked nothing of a service")
	}
}

// Weighted when idle, whatever the size of the pool.
func TestWeights(t *testing.T) {
	for _, n := range []int{3, 30} {
		r := newRig(0, five)
		var total float64
		for i := range n {
			r.eps = append(r.eps, endpoint(i, uint32(i%3)*2)) // 0, 2, 4
			total += float64(i%3) * 2
		}
		const picks = 60_000
		got := r.seen(picks, who(1))
		for i, e := range r.eps {
			want := picks * float64(e.Workload.Capacity) / total
			if d := math.Abs(float64(got[e.Workload.UID]) - want); d > 5*math.Sqrt(want)+1 {
				t.Errorf("%d of %d: %d picks, want about %.0f", i, n, got[e.Workload.UID], want)
			}
		}
	}
}

// The property of two choices: with n connections on n endpoints the fullest has few (log log n), where
// random placement gives several times the mean; and capacities are honoured under load.
func TestLeastRequest(t *testing.T) {
	const n = 1000
	r := newRig(n, five)
	load := map[string]int{}
	for range n {
		e, _, _ := r.Pick(r.svc, r.eps, nil, who(1))
		load[e.Workload.UID]++
	}
	fullest := 0
	for _, l := range load {
		fullest = max(fullest, l)
	}
	if fullest > 4 {
		t.Errorf("the fullest of %d endpoints has %d connections", n, fullest)
	}
	w := newRig(0, five)
	w.eps = []mesh.Endpoint{endpoint(0, 1), endpoint(1, 3)}
	load = map[string]int{}
	for range 400 {
		e, _, _ := w.Pick(w.svc, w.eps, nil, who(1))
		load[e.Workload.UID]++
	}
	if load["uid1"] < 290 || load["uid1"] > 310 {
		t.Errorf("capacities 1 and 3: %v of 400 in flight", load)
	}
}

func TestSlowEndpointGetsLess(t *testing.T) {
	r := newRig(2, five)
	for range 10 { // hung connections of endpoint 0
		r.Pick(r.svc, r.eps, []*mesh.Workload{r.eps[1].Workload}, who(1))
	}
	if got := r.seen(100, who(1)); got["uid0"] != 0 {
		t.Errorf("picks %v", got)
	}
}

func TestLocalOnly(t *testing.T) {
	r := newRig(40, five)
	r.svc.LocalOnly = true
	r.eps[7].Workload.Node, r.eps[33].Workload.Node = "n1", "n1"
	r.eps[8].Workload.Node = "n2"
	for node, want := range map[string][]string{"n1": {"uid33", "uid7"}, "n2": {"uid8"}, "n3": nil, "": nil} {
		w := who(1)
		w.From.Node = node
		got := r.seen(60, w)
		if len(got) != len(want) {
			t.Errorf("%q: %v, want %v", node, got, want)
		}
		for _, u := range want {
			if got[u] == 0 {
				t.Errorf("%q: %v, want %v", node, got, want)
			}
		}
	}
}

func TestFamily(t *testing.T) {
	r := newRig(0, five)
	r.eps = []mesh.Endpoint{endpoint(0, 1), endpoint(1, 1, "fd00::1"), endpoint(2, 1, "10.1.1.1", "fd00::2")}
	six := who(1)
	six.V6 = true
	if got := r.seen(200, six); got["uid0"] != 0 || got["uid1"] == 0 || got["uid2"] == 0 {
		t.Errorf("IPv6 wanted: %v", got)
	}
	if got := r.seen(200, who(1)); got["uid1"] != 0 || got["uid0"] == 0 {
		t.Errorf("IPv4 wanted: %v", got)
	}
	tried := []*mesh.Workload{r.eps[1].Workload, r.eps[2].Workload}
	if e, _, ok := r.Pick(r.svc, r.eps, tried, six); !ok || e.Workload.UID != "uid0" {
		t.Error("the other family is better than none")
	}
}

func TestEndpointsChange(t *testing.T) {
	r := newRig(3, five)
	r.fail(t, 0)
	r.eps = append([]mesh.Endpoint{}, r.eps...) // a new list of the same: the record is kept
	if got := r.seen(100, who(1)); got["uid0"] != 0 {
		t.Error("a new list brought an ejected endpoint back")
	}
	r.eps = []mesh.Endpoint{endpoint(0, 1, "10.9.9.9"), r.eps[1]} // the same name, another pod
	if got := r.seen(100, who(1)); got["uid0"] == 0 {
		t.Error("another pod of the same name inherited the record")
	}
	if n := len(r.State()); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

func TestLeaseIsHarmless(t *testing.T) {
	r := newRig(1, five)
	_, l, _ := r.Pick(r.svc, r.eps, nil, who(1))
	for range 9 {
		l.Report(Refused, "") // only the first counts
	}
	l.Release()
	l.Release()
	l.Report(Refused, "")
	if st := r.State()[0]; st.InFlight != 0 || st.Consecutive != 1 {
		t.Errorf("%+v", st)
	}
}

func TestIdleServicesAreDropped(t *testing.T) {
	r := newRig(1, five)
	r.Pick(r.svc, r.eps, nil, who(1)) // stays in flight
	for i := range 4 * pruneMin {
		r.now = r.now.Add(time.Minute)
		_, l, _ := r.Pick(&mesh.Service{Key: fmt.Sprint("shop/s", i)}, r.eps, nil, who(1))
		l.Release()
	}
	if n := len(r.services); n > pruneMin+1 || r.services["shop/pay"] == nil {
		t.Errorf("%d services are kept, the one in use: %v", n, r.services["shop/pay"] != nil)
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	for _, n := range []int{2, 1000} {
		r := newRig(n, five)
		w := who(1)
		pick := func() {
			_, l, _ := r.Pick(r.svc, r.eps, nil, w)
			l.Report(OK, "")
			l.Release()
		}
		for range 100 * n { // endpoints picked for the first time get their record
			pick()
		}
		if got := testing.AllocsPerRun(2000, pick); got != 0 {
			t.Errorf("%d endpoints: %v allocations", n, got)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{2, 10, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := newRig(n, five)
			for i := range r.eps {
				r.eps[i].Workload.Capacity = uint32(1 + i%3)
			}
			for i := range r.eps {
				_, l, _ := r.Pick(r.svc, r.eps, nil, who(1))
				_ = i
				l.Release()
			}
			w := who(1)
			b.ReportAllocs()
			for b.Loop() {
				_, l, _ := r.Pick(r.svc, r.eps, nil, w)
				l.Report(OK, "")
				l.Release()
			}
		})
	}
}
