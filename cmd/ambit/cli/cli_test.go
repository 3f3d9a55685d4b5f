package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serve answers on a unix socket in dir, as a component's admin socket does.
func serve(t *testing.T, dir, socket string, routes map[string]string) {
	t.Helper()
	mux := http.NewServeMux()
	for path, body := range routes {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if status, text, ok := strings.Cut(body, "!"); ok && status == "404" {
				http.Error(w, text, http.StatusNotFound)
				return
			}
			w.Write([]byte(strings.ReplaceAll(body, "QUERY", r.URL.RawQuery)))
		})
	}
	l, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
}

const (
	agentAnswer = `{"version":"v1","node":"n1","instance":"default",
		"features":[{"name":"kernel","ok":true},{"name":"IPv6","ok":false,"detail":"IPv6 of pods is not captured"}],
		"pods":[
		 {"namespace":"shop","name":"web","desired":"ambient","actual":"enrolled","addresses":["10.0.0.1"]},
		 {"namespace":"shop","name":"host","desired":"none","actual":"plain","why":"hostNetwork","notes":["exclusion void under STRICT"],"excludedInbound":[9090]}],
		"probes":{"mode":"cgroup","cgroup":"/kubelet"}}`
	dumpAnswer = `{"version":{"version":"v2"},"certificates":[{"identity":"spiffe://cluster.local/ns/shop/sa/web","state":"Available",
		"certChain":[{"expirationTime":"2999-01-01T00:00:00Z"}]}]}`
	connectionsAnswer = `{"connections":[{"id":7,"kind":"outbound","pod":"shop/web","path":"tunnel","sent":5,"received":9,"opened":"2026-01-01T00:00:00Z",
		"source":{"address":"10.0.0.1:4000","workload":"web","namespace":"shop"},
		"destination":{"address":"10.0.1.1:8080","workload":"orders","namespace":"shop","identity":"spiffe://cluster.local/ns/shop/sa/orders","service":"orders.shop.svc.cluster.local"}},
		{"id":8,"kind":"inbound","pod":"shop/web","path":"plain","opened":"2026-01-01T00:00:00Z","source":{"address":"10.9.9.9:1"},"destination":{"address":"10.0.0.1:80"}}]}`
	refusedAnswer = `{"source":"shop/web","destination":"shop/payments","allowed":false,"reason":"policy_no_allow","detail":"no ALLOW policy matched",
		"policy":"shop/payments","path":"tunnel","endpoints":[{"workload":"shop/payments-1","address":"10.0.1.2:8080","ejected":true,"until":"2999-01-01T00:00:00Z"},
		{"workload":"shop/payments-2","address":"10.0.1.3:8080","until":""}],"steps":["asked QUERY","judged"]}`
)

// mesh is a run directory with an agent and a ztunnel.
func mesh(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ambit") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	serve(t, dir, agentSocket, map[string]string{"/status": agentAnswer})
	serve(t, dir, proxySocket, map[string]string{"/config_dump": dumpAnswer, "/connections": connectionsAnswer, "/explain": refusedAnswer})
	return dir
}

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := Root("v0")
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func wants(t *testing.T, out string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("want %q in:\n%s", w, out)
		}
	}
}

func TestStatusShowsEnrolmentAndWhyNot(t *testing.T) {
	dir := mesh(t)
	serve(t, dir, controllerSocket, map[string]string{"/status": `{"objects":[{"kind":"AuthorizationPolicy","namespace":"shop","name":"p","accepted":true,"enforcedBy":"ztunnel","parts":["rules[0].to[0].operation.methods: refused: needs layer 7, no waypoint"]}],
		"problems":[{"file":"bad.yaml","document":2,"reason":"spec.foo: unknown field","standing":"previous"}]}`})
	out, err := run(t, "status", "--run-dir", dir, "--controller-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, out, "1 of 2 enrolled", "without IPv6: IPv6 of pods is not captured", "from /kubelet", "hostNetwork; inbound ports [9090] are not captured; exclusion void under STRICT",
		"spiffe://cluster.local/ns/shop/sa/web", "needs layer 7, no waypoint", "bad.yaml #2", "the last good version stays in force")
}

func TestStatusJSONIsDecodable(t *testing.T) {
	out, err := run(t, "status", "--run-dir", mesh(t), "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var m meshStatus
	if err := json.Unmarshal([]byte(out), &m); err != nil || len(m.Nodes) != 1 || m.Nodes[0].Node != "n1" || len(m.Nodes[0].Certificates) != 1 {
		t.Errorf("decoded %+v, error %v", m, err)
	}
}

func TestStatusSaysWhatIsDown(t *testing.T) {
	dir := mesh(t)
	if err := os.Remove(filepath.Join(dir, proxySocket)); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "status", "--run-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, out, "down: ask ztunnel.sock", "1 of 2 enrolled")
}

func TestConnections(t *testing.T) {
	dir := mesh(t)
	out, err := run(t, "connections", "--run-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, out, "shop/orders:8080", "spiffe://cluster.local/ns/shop/sa/orders", "tunnel", "10.9.9.9:1")
	if out, err = run(t, "connections", "--run-dir", dir, "--pod", "shop/orders"); err != nil || strings.Contains(out, "10.9.9.9") {
		t.Errorf("--pod shows others (error %v):\n%s", err, out)
	}
}

func TestExplainTellsTheVerdictByExitCode(t *testing.T) {
	out, err := run(t, "explain", "--run-dir", mesh(t), "shop/web", "shop/payments", "8080")
	if !errors.Is(err, ErrRefused) || ExitCode(err) != 3 {
		t.Errorf("error %v, exit code %d", err, ExitCode(err))
	}
	wants(t, out, "refused: policy_no_allow", "no ALLOW policy matched", "ejected for another", "in use", " 1. asked destination=shop%2Fpayments&port=8080&source=shop%2Fweb", " 2. judged")
}

func TestExplainPassesTheProxysWordsOn(t *testing.T) {
	dir, err := os.MkdirTemp("", "ambit")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	serve(t, dir, proxySocket, map[string]string{"/explain": "404!no pod shop/none on this node"})
	_, err = run(t, "explain", "--run-dir", dir, "shop/none", "shop/payments", "8080")
	if err == nil || ExitCode(err) != 1 || !strings.Contains(err.Error(), "no pod shop/none") {
		t.Errorf("error %v", err)
	}
}

func TestBadQuestions(t *testing.T) {
	for _, args := range [][]string{
		{"explain", "a", "b", "0"}, {"explain", "a", "b", "http"}, {"explain", "a", "b"},
		{"status", "-o", "yaml"}, {"status", "--run-dir", "/nonexistent"}, {"status", "--lab", "none-such"},
	} {
		if out, err := run(t, args...); err == nil {
			t.Errorf("%v: no error, printed %s", args, out)
		}
	}
}

func TestDumpAndVersion(t *testing.T) {
	dir := mesh(t)
	out, err := run(t, "dump", "--run-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, out, `"certChain"`)
	if out, err = run(t, "version", "--run-dir", dir); err != nil {
		t.Fatal(err)
	}
	wants(t, out, "ambit v0", "v1", "v2")
}
