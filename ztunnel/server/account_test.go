package server

import (
	"strings"
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/certs/certstest"
)

// inPod is a proxy that runs as a pod.
func inPod(t *testing.T, ca *certstest.CA, dir string) Config {
	t.Helper()
	cfg := configOf(t, ca, dir, "projected")
	cfg.TokenFile, cfg.JoinTokenFile = cfg.JoinTokenFile, ""
	cfg.PodName, cfg.PodNamespace, cfg.PodIP = "ambit-ztunnel-x", "mesh", "10.9.8.7"
	return cfg
}

func TestAProxyInAPodNeedsNoNodeCertificate(t *testing.T) {
	ca, ctl, dir, agent := newWorld(t)
	ca.SetBearer("projected")
	p := start(t, inPod(t, ca, dir))
	welcome(t, agent.Accept())
	eventually(t, "ready", p.isReady)
	eventually(t, "the pod's certificate", func() bool {
		return certificateState(p.dump(), "spiffe://cluster.local/ns/shop/sa/web") == "Available"
	})
	for _, name := range ca.Asked() {
		if strings.Contains(name, "/node/") {
			t.Errorf("asked for %s", name)
		}
	}
	ctl.mu.Lock()
	defer ctl.mu.Unlock()
	if ctl.bearer != "Bearer projected" || ctl.cluster != "c1" {
		t.Errorf("the stream came with %q of cluster %q", ctl.bearer, ctl.cluster)
	}
	want := map[string]string{"NAMESPACE": "mesh", "NAME": "ambit-ztunnel-x", "NODE_NAME": "n1", "INSTANCE_IPS": "10.9.8.7"}
	for k, v := range want {
		if got := ctl.node.GetMetadata().GetFields()[k].GetStringValue(); got != v {
			t.Errorf("%s is %q, want %q", k, got, v)
		}
	}
	if id := ctl.node.GetId(); id != "ztunnel~10.9.8.7~ambit-ztunnel-x.mesh~mesh.svc.cluster.local" {
		t.Errorf("node id %q", id)
	}
}
