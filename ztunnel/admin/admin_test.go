package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

func TestConfigDump(t *testing.T) {
	x := newFixture(t)
	w := call(x.Handler(), "GET", "/config_dump")
	if strings.Contains(w.Body.String(), "PRIVATE KEY") {
		t.Error("a key is shown")
	}
	d := decode[Dump](t, w)
	if len(d.Workloads) != 1 || d.Workloads[0].Protocol != "HBONE" || d.Workloads[0].Status != "Healthy" || d.Workloads[0].WorkloadIPs[0] != "10.0.0.1" {
		t.Errorf("workloads %+v", d.Workloads)
	}
	if len(d.Services) != 1 || d.Services[0].VIPs[0] != "/10.1.0.1" || d.Services[0].Ports["80"] != 8080 ||
		d.Services[0].Endpoints["c//Pod/shop/web-1"].Port["80"] != 8080 {
		t.Errorf("services %+v", d.Services)
	}
	if p := d.Policies[0]; p.Action != "Deny" || p.Scope != "Namespace" || p.Rules[0][0][0].NotPrincipals[0].Exact == "" || p.Rules[0][0][0].SourceIPs[0] != "10.0.0.0/8" {
		t.Errorf("policies %+v", d.Policies)
	}
	states := map[string]string{}
	for _, c := range d.Certificates {
		states[c.Identity] = c.State
	}
	if c := d.Certificates[0]; len(c.CertChain) != 1 || c.CertChain[0].SerialNumber == "" || len(c.RootCerts) != 1 || c.CertChain[0].ExpirationTime == "" {
		t.Errorf("certificate %+v", c)
	}
	if states[webURI] != "Available" || states["old"] != "Expired" || states["new"] != "Initializing" || states["bad"] != "Unavailable: denied" {
		t.Errorf("states %v", states)
	}
	s := d.WorkloadState["u1"]
	if s.Waiting != "certificate" || len(s.Connections.Outbound) != 1 || s.Connections.Outbound[0].ActualDst != "10.0.0.2:15008" || s.Info.ServiceAccount != "web" {
		t.Errorf("pod %+v", s)
	}
	if d.Version.Version != "v1" || !d.Synced || d.Config.(map[string]any)["node"] != "n1" {
		t.Errorf("%+v %v %v", d.Version, d.Synced, d.Config)
	}
}

func TestConnections(t *testing.T) {
	x := newFixture(t)
	pod := x.live[0].Pod
	handed := &engine.Record{ID: 3, Kind: engine.Outbound, Pod: pod, Bytes: &telemetry.Bytes{}}
	handed.Attempt.Dial = engine.Dial{Action: engine.Deliver, Pod: pod}
	plain := &engine.Record{ID: 4, Kind: engine.Inbound, Pod: pod, Bytes: &telemetry.Bytes{}}
	plain.Attempt.Dial = engine.Dial{Action: engine.Deliver, Pod: pod}
	tunnel := &engine.Record{ID: 5, Kind: engine.HBONE, Pod: pod, Peer: pod.Identity, Bytes: &telemetry.Bytes{}}
	x.live = append(x.live, handed, plain, tunnel)
	got := decode[struct{ Connections []Connection }](t, call(x.Handler(), "GET", "/connections")).Connections
	var paths []string
	for _, c := range got {
		paths = append(paths, c.Path)
	}
	if !slices.Equal(paths, []string{"same_node", "plain", "tunnel", "tunnel"}) {
		t.Errorf("paths %s", paths)
	}
	if c := got[0]; c.Destination.Identity != webURI {
		t.Errorf("handed over: %+v", c)
	}
	if c := got[1]; c.Source.Identity != "" || c.Destination.Identity != webURI {
		t.Errorf("plaintext proves nobody: %+v", c)
	}
	want := Connection{
		ID: 7, Kind: "outbound", Pod: "shop/web-1", Path: "tunnel", Policy: "shop/p", Sent: 5, Opened: time.Unix(1_700_000_000, 0).UTC(),
		Source:      End{"10.0.0.1:5000", "web-1", "shop", webURI, ""},
		Destination: End{"10.0.0.2:8080", "web-1", "shop", webURI, "shop/web.shop.svc"},
	}
	if got[3] != want {
		t.Errorf("got %+v, want %+v", got[3], want)
	}
}

func TestExplain(t *testing.T) {
	x := newFixture(t)
	got := decode[map[string]any](t, call(x.Handler(), "GET", "/explain?source=shop/web&destination=db&port=80"))
	if got["source"] != "shop/web" || got["destination"] != "db" || got["port"] != 80.0 {
		t.Errorf("asked %v", got)
	}
	for url, code := range map[string]int{
		"/explain": 400, "/explain?source=a&destination=b": 400, "/explain?source=a&destination=b&port=0": 400,
		"/explain?source=a&destination=b&port=70000": 400, "/explain?source=nobody&destination=b&port=1": 404,
		"/explain?port=1&source=a&destination=" + strings.Repeat("x", 600): 400,
	} {
		if w := call(x.Handler(), "GET", url); w.Code != code {
			t.Errorf("%.60s: %d, want %d", url, w.Code, code)
		}
	}
}

func TestLoopbackGuards(t *testing.T) {
	x := newFixture(t)
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	ours := func(r *http.Request) { r.Header.Set("X-Ambit-Admin", "1") }
	for h, code := range map[string]int{
		"localhost": 200, "localhost:15000": 200, "127.0.0.1:15000": 200, "[::1]:15000": 200, "[::1]": 200, "127.8.0.1": 200,
		"evil.example": 403, "localhost.evil.example": 403, "10.0.0.1:15000": 403, "": 403, "[": 403, "localhost:1:2": 403,
	} {
		if w := call(x.Loopback(), "GET", "/connections", host(h)); w.Code != code {
			t.Errorf("host %q: %d, want %d", h, w.Code, code)
		}
	}
	if w := call(x.Loopback(), "POST", "/logging?level=debug", host("localhost")); w.Code != 403 {
		t.Errorf("without the header: %d", w.Code)
	}
	if w := call(x.Loopback(), "POST", "/logging?level=debug", host("localhost"), ours); w.Code != 200 || x.level.Level() != slog.LevelDebug {
		t.Errorf("with the header: %d, level %v", w.Code, x.level.Level())
	}
	if w := call(x.Handler(), "POST", "/logging?level=loud"); w.Code != 400 {
		t.Errorf("a level that there is not: %d", w.Code)
	}
	if w := call(x.Handler(), "GET", "/logging"); !strings.Contains(w.Body.String(), "debug") {
		t.Errorf("level %q", w.Body)
	}
	for _, url := range []string{"/debug/pprof/", "/debug/pprof/heap", "/nothing"} {
		if w := call(x.Handler(), "GET", url); w.Code != 404 {
			t.Errorf("%s: %d", url, w.Code)
		}
	}
	x.cfg.Pprof = true
	if w := call(x.Handler(), "GET", "/debug/pprof/heap"); w.Code != 200 {
		t.Errorf("pprof: %d", w.Code)
	}
}

func TestReady(t *testing.T) {
	x := newFixture(t)
	if w := call(x.ReadyMux(), "GET", "/healthz/ready"); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	x.ready = errors.New("the agent is away")
	if w := call(x.ReadyMux(), "GET", "/healthz/ready"); w.Code != 503 || !strings.Contains(w.Body.String(), "away") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, p := range []string{"/metrics", "/stats/prometheus"} {
		if w := call(x.ScrapeMux(), "GET", p); w.Code != 200 {
			t.Errorf("%s: %d", p, w.Code)
		}
	}
	if w := call(x.ReadyMux(), "GET", "/config_dump"); w.Code != 404 {
		t.Errorf("the probe's address tells more: %d", w.Code)
	}
}

func TestUnixSocketReplacesAnOlderOneAndIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ztunnel.sock")
	for range 2 { // the second time there is one
		l, err := ListenUnix(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		l.Close()
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Errorf("%d files, %v", len(list), err)
	}
}

func TestServeEndsAndLimits(t *testing.T) {
	x := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, err := ListenTCP(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := ListenTCP(ctx, l.Addr().String())
	if err != nil {
		t.Fatalf("a successor beside it: %v", err)
	}
	second.Close()
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, x.Loopback()) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /connections HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("y", 40<<10)+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, _ := c.Read(b)
	if !strings.Contains(string(b[:n]), "431") {
		t.Errorf("a large header: %q", b[:n])
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
