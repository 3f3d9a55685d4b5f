package telemetry

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/reason"
)

// bench is a Telemetry with a clock that the test moves. Its registry checks all that is exposed.
type bench struct {
	*Telemetry
	t   *testing.T
	reg *prometheus.Registry
	now atomic.Int64
}

func newBench(t *testing.T, max int) *bench {
	b := &bench{t: t, reg: prometheus.NewPedanticRegistry()}
	b.now.Store(1_000_000 * int64(time.Second))
	var err error
	b.Telemetry, err = New(Options{Registerer: b.reg, MaxSeries: max, LogDropped: func() uint64 { return 3 },
		Now: func() time.Time { return time.Unix(0, b.now.Load()) }})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) pass(d time.Duration) { b.now.Add(int64(d)) }

func (b *bench) families() map[string]*dto.MetricFamily {
	b.t.Helper()
	list, err := b.reg.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range list {
		out[f.GetName()] = f
	}
	return out
}

// sum adds a family's values; n is how many series it has.
func (b *bench) sum(name string) (sum float64, n int) {
	b.t.Helper()
	list := b.families()[name].GetMetric()
	for _, m := range list {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sum, len(list)
}

func (b *bench) want(name string, sum float64, n int) {
	b.t.Helper()
	if s, k := b.sum(name); s != sum || k != n {
		b.t.Errorf("%s: %v in %d series, want %v in %d", name, s, k, sum, n)
	}
}

func labelsOf(i int) *Labels {
	return &Labels{Source: Party{Workload: fmt.Sprint("w", i)}}
}

func TestLiveBytesAtScrape(t *testing.T) {
	b := newBench(t, 0)
	var one, two Flow
	var bytes, other Bytes
	b.Open(&one, labelsOf(1), &bytes)
	b.Open(&two, labelsOf(1), &other)
	bytes.Sent.Add(5)
	bytes.Received.Add(50)
	b.want(received, 5, 1)
	b.want(sent, 50, 1)
	b.want(sockets, 2, 2)
	bytes.Sent.Add(1)
	one.Close()
	one.Close() // of no effect
	bytes.Sent.Add(100)
	b.want(received, 6, 1)
	b.want(opened, 2, 1)
	b.want(closed, 1, 1)
	b.want(sockets, 1, 2)
	two.Close()
	b.want(sockets, 0, 2)
}

func TestIdleSeriesGo(t *testing.T) {
	b := newBench(t, 0)
	var live, brief Flow
	var n Bytes
	b.Open(&live, labelsOf(1), &n)
	b.Open(&brief, labelsOf(2), &n)
	brief.Close()
	b.Failed(labelsOf(3))
	b.PolicyHit("shop/p", true)
	b.Refused("inbound", reason.PolicyDeny)
	b.want(opened, 2, 2)
	b.want(failed, 1, 1)
	b.pass(15*time.Minute - time.Second)
	b.Failed(labelsOf(3))
	b.want(opened, 2, 2)
	b.pass(time.Second)
	b.want(opened, 1, 1) // the live one
	b.want(failed, 2, 1)
	b.want(policyHits, 0, 0)
	b.want(refused, 0, 0)
	b.pass(time.Hour)
	live.Close() // counts as use
	b.want(closed, 1, 1)
	b.pass(15 * time.Minute)
	b.want(opened, 0, 0)
	b.Open(&live, labelsOf(1), &n)
	b.want(opened, 1, 1)
	b.want(closed, 0, 1)
}

func TestSeriesAreBounded(t *testing.T) {
	b := newBench(t, 10)
	flows := make([]Flow, 100)
	var n Bytes
	n.Sent.Store(1)
	for i := range flows {
		b.Open(&flows[i], labelsOf(i), &n)
		b.PolicyHit(fmt.Sprint("shop/", i), false)
	}
	b.want(opened, 100, 11)
	b.want(received, 100, 11)
	b.want(policyHits, 100, 11)
	b.want(dropped, 180, 3)
	for i := range flows {
		flows[i].Close()
	}
	b.want(closed, 100, 11)
	b.want(sockets, 0, 2)
	// A full table makes room as soon as there are idle series.
	b.pass(15 * time.Minute)
	var f Flow
	b.Open(&f, labelsOf(1000), &n)
	b.want(opened, 1, 1)
	if l := b.families()[opened].GetMetric()[0].GetLabel(); !slices.ContainsFunc(l, func(p *dto.LabelPair) bool { return p.GetValue() == "w1000" }) {
		t.Errorf("labels %v", l)
	}
}

func TestConcurrentUse(t *testing.T) {
	b := newBench(t, 20)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var n Bytes
			n.Sent.Store(1)
			for i := range 200 {
				var f Flow
				b.Open(&f, labelsOf((g+i)%30), &n)
				b.PolicyHit("shop/p", true)
				f.Close()
			}
		})
	}
	for range 20 {
		b.families()
	}
	wg.Wait()
	sum, _ := b.sum(received)
	if sum != 1600 {
		t.Errorf("%v bytes", sum)
	}
	b.want(sockets, 0, 2)
}

func TestEjections(t *testing.T) {
	b := newBench(t, 0)
	until := time.Unix(0, b.now.Load()).Add(30 * time.Second)
	one := balance.EndpointState{Service: "shop/web", Workload: "a", Ejected: true, Until: until}
	two := balance.EndpointState{Service: "shop/web", Workload: "b", Ejected: true, Until: until}
	var o balance.Observer = b.Telemetry
	o.Ejected(one)
	o.Ejected(two)
	b.want(ejections, 2, 1)
	b.want(ejected, 2, 1)
	o.Restored(one)
	b.want(ejected, 1, 1)
	b.pass(30 * time.Second) // the balancer never looks at b again
	b.want(ejected, 0, 0)
	b.want(ejections, 2, 1)
}

func TestCertificateExpiry(t *testing.T) {
	b := newBench(t, 0)
	b.CertificateExpiry("spiffe://x/ns/a/sa/b", time.Unix(2_000_000, 0))
	b.want(expiry, 2_000_000, 1)
	b.CertificateExpiry("spiffe://x/ns/a/sa/b", time.Time{})
	b.want(expiry, 0, 0)
}

func TestFlags(t *testing.T) {
	for why, want := range map[reason.Reason]string{
		reason.None: "-", reason.PolicyDeny: "DENY", reason.MTLSRequired: "DENY", reason.PeerRefused: "DENY",
		reason.ConnectRefused: "CONNECT", reason.NoEndpoint: "CONNECT", reason.WrongPeer: "TLS_FAILURE",
		reason.IdentityError: "IDENTITY_ERROR", reason.Drain: "-", reason.BadRequest: "H2_HANDSHAKE_FAILURE",
	} {
		if got := Flags(why, true); got != want {
			t.Errorf("%s is %s, want %s", why, got, want)
		}
	}
	if Flags(reason.ConnectTimeout, true) != "NETWORK_POLICY" || Flags(reason.ConnectTimeout, false) != "CONNECT" {
		t.Error("timeouts")
	}
}

func TestRegisterTwice(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := New(Options{Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Registerer: reg}); err == nil {
		t.Error("registered twice")
	}
}
