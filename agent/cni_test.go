package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/sandbox"
	wire "github.com/ambitmesh/ambit/internal/cni"
	"github.com/ambitmesh/ambit/internal/objects"
	"github.com/ambitmesh/ambit/internal/objects/fakeapi"
)

const (
	podsOfAPI       = "/api/v1/pods"
	namespacesOfAPI = "/api/v1/namespaces"
)

// kubeWorld is what cmd/ambit-agent makes of --source kube.
func kubeWorld(socket string, log *slog.Logger) (*agent.KubeWorld, error) {
	src, err := objects.NewAPIServer(fakeapi.Dial(socket), objects.APIOptions{Node: "node", Kinds: agent.AgentKinds(), Log: log})
	if err != nil {
		return nil, err
	}
	host, err := netns.Self()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	return agent.NewKubeWorld(src, "node", agent.KubeOptions{Finder: sandbox.New("", host.Inode), Log: log, Now: time.Now}), nil
}

// cluster is a node of a cluster whose API server is a fake.
type cluster struct {
	*theater
	api   *fakeapi.Server
	proxy *stage.Process
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	h := newTheater(t)
	h.setup.API = filepath.Join(t.TempDir(), "api.sock")
	h.setup.HoldNew = true
	c := &cluster{theater: h, api: fakeapi.NewUnix(t, h.setup.API, podsOfAPI, namespacesOfAPI)}
	c.api.Put(namespacesOfAPI, "metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}")
	c.start()
	c.proxy = c.Proxy("proxy")
	return c
}

func uidOf(n int) string { return fmt.Sprintf("0a1b2c3d-1111-2222-3333-%012d", n) }

// object writes the pod's object; ips is what kubelet has reported by then.
func (c *cluster) object(p *stage.Pod, labels, ips string) {
	c.t.Helper()
	c.api.Put(podsOfAPI, fmt.Sprintf("metadata: {name: %s, namespace: shop, uid: %s, labels: {%s}}\nspec: {nodeName: node}\nstatus: {phase: Running, podIPs: [%s]}\n", p.Name, p.UID, labels, ips))
}

// cni is what the plugin does.
func (c *cluster) cni(what string, p *stage.Pod) error {
	c.t.Helper()
	body, err := json.Marshal(wire.Request{Namespace: "shop", Name: p.Name, UID: p.UID, ContainerID: "c-" + p.Name, NetNS: p.NetNS, IPs: []string{p.V4.String(), p.V6.String()}})
	if err != nil {
		c.t.Fatal(err)
	}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(c.setup.RunDir, "cni", wire.SocketName))
	}}}
	resp, err := client.Post("http://agent/"+what, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var r wire.Reply
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return err
	}
	if !r.OK {
		return fmt.Errorf("%s", r.Error)
	}
	return nil
}

// through checks that a pod's next connection goes by the proxy.
func (c *cluster) through(from, to *stage.Pod) {
	c.t.Helper()
	c.proxy.Log(c.t)
	conn := from.Dial(c.t, stage.Dial{To: stage.At(to.V4, 8080)})
	if conn.Err != "" || conn.Who != to.Name {
		c.t.Errorf("dial: %+v", conn)
	}
	for _, e := range c.proxy.Log(c.t) {
		if e.Kind == "out" && e.Pod == from.UID {
			return
		}
	}
	c.t.Errorf("pod %s spoke past the proxy", from.Name)
}

// TestFirstPacketIsCaptured: ADD comes before kubelet has reported an address.
func TestFirstPacketIsCaptured(t *testing.T) {
	c := newCluster(t)
	s, x := c.Sandbox("s", uidOf(1)), c.Sandbox("x", uidOf(2))
	c.object(s, "", "")
	c.object(x, "istio.io/dataplane-mode: none", "")
	for _, p := range []*stage.Pod{s, x} {
		if err := c.cni("add", p); err != nil {
			t.Fatalf("ADD of %s: %v", p.Name, err)
		}
	}
	c.through(s, x)
	if st, err := c.pod("s"); err != nil || !st.Captured {
		t.Errorf("%+v, %v", st, err)
	}
	if conn := x.Process.Dial(t, stage.Dial{To: stage.At(s.V4, 8080)}); conn.Who != "s" {
		t.Errorf("plain to captured: %+v", conn)
	}
	untouched(t, x)
	c.object(s, "", fmt.Sprintf("{ip: %s}, {ip: %q}", s.V4, s.V6))
	c.become(agent.ActualEnrolled, "s")
	c.through(s, x)
	if err := c.cni("check", s); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	if err := c.cni("del", s); err != nil {
		t.Fatal(err)
	}
	c.says("s", agent.ActualWaiting, "taken down") // though its process still runs
	untouched(t, s)
	if err := c.cni("add", s); err != nil { // in the same namespace
		t.Fatal(err)
	}
	c.become(agent.ActualEnrolled, "s")
}

// TestPodWithoutAnObject is captured all the same; what it sends waits until it is known whose it is.
func TestPodWithoutAnObject(t *testing.T) {
	c := newCluster(t)
	s, x := c.Sandbox("s", uidOf(1)), c.Sandbox("x", uidOf(2))
	c.object(x, "istio.io/dataplane-mode: none", "")
	if err := c.cni("add", s); err != nil {
		t.Fatal(err)
	}
	c.says("s", agent.ActualEnrolling, "has not told of the pod yet")
	conn := s.Process.Dial(t, stage.Dial{To: stage.At(x.V4, 8080), Timeout: time.Second})
	if conn.Err == "" || strings.Contains(conn.Err, "refused") {
		t.Errorf("it does not wait: %+v", conn)
	}
	c.object(s, "", "")
	c.become(agent.ActualEnrolled, "s")
	c.through(s, x)
}

// TestAddWithoutAProxy: the pod is held until there is one.
func TestAddWithoutAProxy(t *testing.T) {
	c := newCluster(t)
	c.proxy.Kill()
	c.eventually("the agent knows", func() error {
		st, err := c.status()
		if err == nil && len(st.Proxies) > 0 {
			err = fmt.Errorf("it has %v", st.Proxies)
		}
		return err
	})
	s := c.Sandbox("s", uidOf(1))
	c.object(s, "", "")
	done := make(chan error, 1)
	go func() { done <- c.cni("add", s) }()
	c.says("s", agent.ActualEnrolling, "no node proxy")
	select {
	case err := <-done:
		t.Fatalf("not held: %v", err)
	default:
	}
	c.proxy = c.Proxy("proxy2")
	if err := <-done; err != nil {
		t.Error(err)
	}
}
