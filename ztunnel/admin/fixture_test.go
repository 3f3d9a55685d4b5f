package admin

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/certs"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/pods"
)

const webURI = "spiffe://cluster.local/ns/shop/sa/web"

func store(t *testing.T) *mesh.Store {
	t.Helper()
	s := mesh.NewStore(mesh.Options{})
	var u mesh.Update
	add := func(name string, a *workload.Address) {
		m, err := anypb.New(a)
		if err == nil {
			err = u.AddAddress(name, "1", m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add("c//Pod/shop/web-1", &workload.Address{Type: &workload.Address_Workload{Workload: &workload.Workload{
		Uid: "c//Pod/shop/web-1", Name: "web-1", Namespace: "shop", ServiceAccount: "web", TrustDomain: "cluster.local",
		Addresses: [][]byte{{10, 0, 0, 1}}, TunnelProtocol: workload.TunnelProtocol_HBONE, Node: "n1",
		Services: map[string]*workload.PortList{"shop/web.shop.svc": {Ports: []*workload.Port{{ServicePort: 80, TargetPort: 8080}}}},
	}}})
	add("shop/web.shop.svc", &workload.Address{Type: &workload.Address_Service{Service: &workload.Service{
		Name: "web", Namespace: "shop", Hostname: "web.shop.svc",
		Addresses: []*workload.NetworkAddress{{Address: []byte{10, 1, 0, 1}}}, Ports: []*workload.Port{{ServicePort: 80, TargetPort: 8080}},
	}}})
	p, err := anypb.New(&security.Authorization{
		Name: "p", Namespace: "shop", Scope: security.Scope_NAMESPACE, Action: security.Action_DENY,
		Rules: []*security.Rule{{Clauses: []*security.Clause{{Matches: []*security.Match{{
			NotPrincipals: []*security.StringMatch{{MatchType: &security.StringMatch_Exact{Exact: "cluster.local/ns/shop/sa/web"}}},
			SourceIps:     []*security.Address{{Address: []byte{10, 0, 0, 0}, Length: 8}},
		}}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	u.AddPolicy("shop/p", "1", p)
	u.AddressesComplete, u.PoliciesComplete = true, true
	if errs := s.Apply(u); len(errs) > 0 {
		t.Fatal(errs)
	}
	return s
}

type fixture struct {
	*Admin
	level slog.LevelVar
	ready error
	live  []*engine.Record
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	x := &fixture{}
	s := store(t)
	web, err := identity.Parse(webURI)
	if err != nil {
		t.Fatal(err)
	}
	pod := &engine.Pod{UID: "u1", Name: "web-1", Namespace: "shop", ServiceAccount: "web", Identity: web, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	r := &engine.Record{
		ID: 7, Kind: engine.Outbound, Pod: pod, Source: netip.MustParseAddrPort("10.0.0.1:5000"), Dest: netip.MustParseAddrPort("10.1.0.1:80"),
		Target: netip.MustParseAddrPort("10.0.0.2:8080"), Accepted: time.Unix(1_700_000_000, 0), Policy: "shop/p", Bytes: &telemetry.Bytes{},
		From: s.Snapshot().Workload("c//Pod/shop/web-1"), To: s.Snapshot().Workload("c//Pod/shop/web-1"), Service: s.Snapshot().Service("shop/web.shop.svc"),
	}
	r.Attempt.Dial = engine.Dial{Action: engine.Tunnel, To: netip.MustParseAddrPort("10.0.0.2:15008"), Peers: []string{webURI}}
	r.Sent.Store(5)
	x.live = []*engine.Record{r}
	cert := testca.New(t).Issue(webURI)
	x.Admin = New(Config{
		Store: s, Level: &x.level, Version: "v1", Settings: map[string]string{"node": "n1"}, Log: slog.New(slog.DiscardHandler),
		Each: func(f func(*engine.Record) bool) {
			for _, r := range x.live {
				if !f(r) {
					return
				}
			}
		},
		Pods: func() []pods.Info { return []pods.Info{{Pod: pod, State: "serving", Waiting: "certificate"}} },
		Certs: func() []certs.Status {
			return []certs.Status{
				{Identity: webURI, Cert: cert}, {Identity: "old", Cert: cert, Expired: true},
				{Identity: "new"}, {Identity: "bad", Err: errors.New("denied")},
			}
		},
		Explain: func(source, destination string, port uint16) (any, error) {
			if source == "nobody" {
				return nil, errors.New("no such pod")
			}
			return map[string]any{"source": source, "destination": destination, "port": port}, nil
		},
		Ready: func() error { return x.ready }, Gatherer: prometheus.NewRegistry(),
	})
	return x
}

func call(h http.Handler, method, url string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, nil)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
