package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/objects"
)

func TestMachineJoinsAndFollowsTheMesh(t *testing.T) {
	c := startController(t, nil)
	c.put("web.yaml", podYAML("web", "n1", "10.0.0.1"))
	c.run()
	m := c.join("n1").connect()
	until(t, "synced", func() bool { return m.store.Snapshot().Synced() && m.store.Snapshot().Workload(uidOf("web")) != nil })
	c.put("orders.yaml", podYAML("orders", "n2", "10.0.0.2"))
	until(t, "a pod that came", func() bool { return m.store.Snapshot().Workload(uidOf("orders")) != nil })
	c.drop("web.yaml")
	until(t, "a pod that went", func() bool { return m.store.Snapshot().Workload(uidOf("web")) == nil })
	until(t, "acknowledged in status", func() bool {
		st := c.server.Status()
		return len(st.Proxies) == 1 && st.Proxies[0].Node == "n1" && st.Proxies[0].Types[xds.AddressType].Synced &&
			st.Proxies[0].Types[xds.AuthorizationType].Synced
	})
}

func TestAdminSocket(t *testing.T) {
	c := startController(t, nil)
	c.put("bad.yaml", "kind: Pod\napiVersion: v1\nmetadata: {name: x, namespace: shop}\nspec: {nonsense: 1}\n")
	c.run()
	http1 := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(c.dir, "state", AdminSocket))
	}}}
	t.Cleanup(http1.CloseIdleConnections)
	get := func(method, path string) (int, string) {
		req, err := http.NewRequest(method, "http://c"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http1.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b strings.Builder
		buf := make([]byte, 64<<10)
		for {
			n, err := resp.Body.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				return resp.StatusCode, b.String()
			}
		}
	}
	until(t, "ready", func() bool { code, _ := get("GET", "/healthz/ready"); return code == 200 })
	_, body := get("GET", "/status")
	var st struct {
		Ready    bool              `json:"ready"`
		Problems []objects.Problem `json:"problems"`
	}
	if err := json.Unmarshal([]byte(body), &st); err != nil || !st.Ready || len(st.Problems) != 1 || !strings.Contains(st.Problems[0].Reason, "nonsense") {
		t.Errorf("status: %v\n%s", err, body)
	}
	if code, body := get("GET", "/metrics"); code != 200 || !strings.Contains(body, "ambit_objects_problems 1") || !strings.Contains(body, "ambit_ca_roots 1") {
		t.Errorf("metrics: %d\n%s", code, body)
	}
	if code, body := get("POST", "/root/rotate?step=finish"); code != 409 {
		t.Errorf("finish before prepare: %d %s", code, body)
	}
	if code, _ := get("GET", "/root/rotate?step=prepare"); code != 405 {
		t.Errorf("GET of a step: %d", code)
	}
	if st, err := os.Stat(filepath.Join(c.dir, "state", AdminSocket)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", st.Mode(), err)
	}
}

func TestOneControllerPerStateDirectory(t *testing.T) {
	c := startController(t, nil).run()
	cfg := c.server.cfg
	cfg.Listen, cfg.Registry = "127.0.0.1:0", nil
	if s, err := New(cfg); err == nil {
		s.Close()
		t.Fatal("two controllers have one state directory")
	}
}

func TestOwnCertificateFollowsTheRoots(t *testing.T) {
	c := startController(t, nil).run()
	seen := func() *x509.Certificate {
		t.Helper()
		conn, err := tls.Dial("tcp", c.addr, identity.JoinConfig(identity.Pool(c.server.ca.Roots()), []string{identity.Controller(td).String()}, time.Now))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	first := seen()
	for _, name := range c.server.cfg.ServerNames {
		if err := first.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if again := seen(); !again.Equal(first) {
		t.Error("made anew without need")
	}
	if err := c.server.ca.Rotate("prepare", false); err != nil {
		t.Fatal(err)
	}
	if again := seen(); again.Equal(first) {
		t.Error("not made anew when the roots changed")
	}
}
