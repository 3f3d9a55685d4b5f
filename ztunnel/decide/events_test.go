package decide

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// watched is a world whose numbers and lines can be read.
func watched(t *testing.T) (w *world, reg *prometheus.Registry, log *bytes.Buffer) {
	reg, log = prometheus.NewRegistry(), &bytes.Buffer{}
	counts, err := telemetry.New(telemetry.Options{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, func(o *Options) {
		o.Telemetry, o.AccessLog = counts, telemetry.NewAccessLog(log, nil)
		o.Random = func() uint64 { return 0x0102030405060708 }
	})
	w.addresses(
		pod("client", "here", nil, "10.0.0.1"), pod("near", "here", nil, "10.0.0.2"),
		pod("far", "there", in("shop/web.shop"), "10.0.1.1"), svc("web", nil, vip),
	)
	return w, reg, log
}

// read returns the value of the metric, summed over the series that have the labels "name=value".
func read(t *testing.T, reg *prometheus.Registry, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			has := map[string]bool{}
			for _, p := range m.GetLabel() {
				has[p.GetName()+"="+p.GetValue()] = true
			}
			for _, l := range labels {
				if !has[l] {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func TestTunnelIsCounted(t *testing.T) {
	w, reg, log := watched(t)
	client := w.serve("client")
	r := w.outbound(client, vip+":80")
	plan := w.d.Accepted(r)
	w.establish(r, plan)
	r.Attempt.Handshake = time.Millisecond
	r.Sent.Add(10)
	r.Received.Add(1000)
	labels := []string{"reporter=source", "source_workload=client", "source_principal=spiffe://cluster.local/ns/shop/sa/client",
		"destination_workload=far", "destination_principal=spiffe://cluster.local/ns/shop/sa/far", "destination_service=web.shop",
		"destination_service_name=web", "destination_service_namespace=shop", "connection_security_policy=mutual_tls", "response_flags=-"}
	for name, want := range map[string]float64{
		"istio_tcp_connections_opened_total": 1, "istio_tcp_connections_closed_total": 0,
		"istio_tcp_received_bytes_total": 10, "istio_tcp_sent_bytes_total": 1000, // of a live connection
	} {
		if got := read(t, reg, name, labels...); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	r.First = 2 * time.Millisecond
	w.d.Answered(r)
	r.Sent.Add(5)
	r.Ended = 1500 * time.Millisecond
	r.TCPInfo = engine.TCPInfo{RTT: time.Millisecond, Retransmits: 3}
	w.d.Closed(r)
	for name, want := range map[string]float64{
		"istio_tcp_connections_opened_total": 1, "istio_tcp_connections_closed_total": 1, "istio_tcp_received_bytes_total": 15,
	} {
		if got := read(t, reg, name, labels...); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]float64{"istio_tcp_sockets_open": 0, "ambit_connect_seconds": 1, "ambit_first_byte_seconds": 1,
		"ambit_connection_seconds": 1, "ambit_tcp_rtt_seconds": 1, "ambit_tcp_retransmits_total": 3, "ambit_refused_total": 0} {
		if got := read(t, reg, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	want := `{"time":"1970-01-12T13:46:41.500000Z","level":"INFO",` +
		`"src.addr":"10.0.0.1:40000","src.workload":"client","src.namespace":"shop","src.identity":"spiffe://cluster.local/ns/shop/sa/client",` +
		`"dst.addr":"10.0.1.1:15008","dst.workload":"far","dst.namespace":"shop","dst.identity":"spiffe://cluster.local/ns/shop/sa/far",` +
		`"dst.hbone_addr":"10.0.1.1:8080","dst.service":"web.shop","direction":"outbound","path":"tunnel",` +
		`"bytes_sent":15,"bytes_recv":1000,"duration":"1500.000ms","attempts":1,` +
		`"trace":"00-01020304050607080102030405060709-0102030405060709-00"}` + "\n"
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Error(diff)
	}
}

func TestHandOverCountsTwice(t *testing.T) {
	w, reg, log := watched(t)
	client := w.serve("client")
	w.serve("near")
	r := w.outbound(client, "10.0.0.2:80")
	w.establish(r, w.d.Accepted(r))
	r.Sent.Add(7)
	w.d.Closed(r)
	for _, reporter := range []string{"source", "destination"} {
		if got := read(t, reg, "istio_tcp_received_bytes_total", "reporter="+reporter, "connection_security_policy=unknown",
			"source_principal=spiffe://cluster.local/ns/shop/sa/client", "destination_principal=spiffe://cluster.local/ns/shop/sa/near"); got != 7 {
			t.Errorf("%s: %v bytes", reporter, got)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), `"path":"same_node"`) {
		t.Errorf("%d lines: %s", n, log)
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	w, reg, log := watched(t)
	w.policies(policy("far-only", security.Scope_NAMESPACE, security.Action_ALLOW, principal("far")))
	near, client := w.serve("near"), w.serve("client")
	refuse := func(r *engine.Record, p engine.Plan) {
		t.Helper()
		if p.Action != engine.Refuse {
			t.Fatalf("%s", show(p))
		}
		r.Reason, r.Detail = p.Reason, p.Detail
		w.d.Closed(r)
	}
	r := w.tunnel(near, "client", "10.0.0.1", "10.0.0.2:80")
	refuse(r, w.d.Connect(r))
	r = w.record(engine.Inbound, near, "192.0.2.1:40000", "10.0.0.2:80")
	refuse(r, w.d.Accepted(r))
	r = w.outbound(client, "10.0.0.2:80") // hand-over: both ends
	refuse(r, w.d.Accepted(r))
	r = w.record(engine.HBONE, near, "10.0.1.1:40000", "10.0.0.2:15008") // a failed handshake
	r.Reason, r.Detail = reason.TrustDomain, "test"
	w.d.Closed(r)
	r = w.outbound(client, vip+":80") // a peer's 401
	plan := w.dialed(r, w.d.Accepted(r), &engine.DialError{Reason: reason.PeerRefused, Status: 401, Err: errTest{}})
	refuse(r, plan)

	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"ambit_refused_total", []string{"reason=policy_no_allow", "direction=inbound"}, 2},
		{"ambit_refused_total", []string{"reason=policy_no_allow", "direction=outbound"}, 1},
		{"ambit_refused_total", []string{"reason=trust_domain"}, 1},
		{"ambit_refused_total", []string{"reason=peer_refused"}, 1},
		{"ambit_refused_total", nil, 5},
		{"ambit_policy_hits_total", []string{"policy=shop/far-only", "outcome=refused", "dry_run=false"}, 3},
		{"istio_tcp_connections_failed_total", []string{"response_flags=DENY", "reporter=destination"}, 3},
		{"istio_tcp_connections_failed_total", []string{"response_flags=DENY", "reporter=source"}, 2},
		{"istio_tcp_connections_failed_total", []string{"response_flags=TLS_FAILURE", "reporter=destination", "destination_workload=near"}, 1},
		{"istio_tcp_connections_opened_total", nil, 0},
	} {
		if got := read(t, reg, c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines:\n%s", len(lines), log)
	}
	want := `{"time":"1970-01-12T13:46:40.000000Z","level":"WARN",` +
		`"src.addr":"10.0.0.1:40000","src.workload":"client","src.namespace":"shop","src.identity":"spiffe://cluster.local/ns/shop/sa/client",` +
		`"dst.addr":"10.0.0.2:15008","dst.workload":"near","dst.namespace":"shop","dst.identity":"spiffe://cluster.local/ns/shop/sa/near",` +
		`"dst.hbone_addr":"10.0.0.2:80","direction":"inbound","path":"tunnel","bytes_sent":0,"bytes_recv":0,"duration":"0.000ms","attempts":0,` +
		`"reason":"policy_no_allow","detail":"ALLOW policy shop/far-only applies and does not match","policy":"shop/far-only"}`
	if diff := cmp.Diff(want, lines[0]); diff != "" {
		t.Error(diff)
	}
}

type errTest struct{}

func (errTest) Error() string { return "test" }

func TestEndedEarly(t *testing.T) {
	w, reg, log := watched(t)
	near := w.serve("near")
	r := w.record(engine.Inbound, near, "192.0.2.1:40000", "10.0.0.2:80")
	w.establish(r, w.d.Accepted(r))
	w.policies(strict())
	why, ok := w.d.Rejudge(r)
	if ok {
		t.Fatal("goes on in plaintext")
	}
	r.Reason = why
	w.d.Closed(r)
	for name, want := range map[string]float64{"istio_tcp_connections_opened_total": 1, "istio_tcp_connections_closed_total": 1,
		"istio_tcp_connections_failed_total": 1, "istio_tcp_sockets_open": 0} {
		if got := read(t, reg, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if !strings.Contains(log.String(), `"reason":"policy_changed","detail":"mtls_required: mutual TLS is required`) ||
		!strings.Contains(log.String(), `"policy":"shop/strict"`) {
		t.Error(log.String())
	}
	if got := read(t, reg, "ambit_policy_hits_total", "policy=shop/strict", "outcome=refused"); got != 1 {
		t.Errorf("%v hits", got)
	}
}

func TestDryRunIsCounted(t *testing.T) {
	w, reg, log := watched(t)
	p := policy("trial", security.Scope_NAMESPACE, security.Action_DENY, principal("client"))
	p.DryRun = true
	w.policies(p)
	near := w.serve("near")
	r := w.tunnel(near, "client", "10.0.0.1", "10.0.0.2:80")
	plan := w.d.Connect(r)
	wantPlan(t, plan, engine.Deliver, "")
	w.establish(r, plan)
	w.d.Closed(r)
	if got := read(t, reg, "ambit_policy_hits_total", "policy=shop/trial", "dry_run=true", "outcome=refused"); got != 1 {
		t.Errorf("%v hits", got)
	}
	if !strings.Contains(log.String(), `"dry_run":["shop/trial"]`) {
		t.Error(log.String())
	}
}

func TestWaitsAreNotHits(t *testing.T) {
	w, reg, _ := watched(t)
	near := w.serve("near")
	w.addresses(pod("near", "here", named("shop/later"), "10.0.0.2"))
	r := w.tunnel(near, "client", "10.0.0.1", "10.0.0.2:80")
	for range 3 {
		wantPlan(t, w.d.Connect(r), engine.Wait, "policy_unknown")
	}
	w.policies(policy("later", security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW, principal("client")))
	wantPlan(t, w.d.Connect(r), engine.Deliver, "")
	if got := read(t, reg, "ambit_policy_hits_total"); got != 1 {
		t.Errorf("%v hits", got)
	}
}
