package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent/sandbox"
	"github.com/ambitmesh/ambit/internal/objects"
	"github.com/ambitmesh/ambit/internal/objects/fakeapi"
)

const (
	podUID   = "0a1b2c3d-1111-2222-3333-0123456789ab"
	podsPath = "/api/v1/pods"
	nsPath   = "/api/v1/namespaces"
)

// cluster is a world of a fake API server and a /proc of our own making.
type cluster struct {
	*testing.T
	api   *fakeapi.Server
	proc  string
	world *KubeWorld

	mu    sync.Mutex
	views []View
	now   time.Time
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{T: t, api: fakeapi.New(t, podsPath, nsPath), proc: t.TempDir(), now: time.Now()}
	src, err := objects.NewAPIServer(c.api.Config(), objects.APIOptions{Node: "n1", Kinds: AgentKinds()})
	if err != nil {
		t.Fatal(err)
	}
	c.world = NewKubeWorld(src, "n1", KubeOptions{
		Finder: sandbox.New(c.proc, 1), Log: slog.New(slog.DiscardHandler), Now: c.clock,
	})
	return c
}

func (c *cluster) clock() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *cluster) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func (c *cluster) start() {
	c.Helper()
	ctx, cancel := context.WithCancel(c.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.world.Watch(ctx, func(v View) { c.mu.Lock(); defer c.mu.Unlock(); c.views = append(c.views, v) }); err != nil {
			c.Error(err)
		}
	}()
	c.Cleanup(func() { cancel(); <-done })
}

// until waits for a view whose only pod is as wanted.
func (c *cluster) until(what string, ok func(Pod) bool) Pod {
	c.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		if n := len(c.views); n > 0 && len(c.views[n-1].Pods) == 1 && ok(c.views[n-1].Pods[0]) {
			defer c.mu.Unlock()
			return c.views[n-1].Pods[0]
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Fatalf("never: %s; views: %+v", what, c.views)
	return Pod{}
}

// process puts a process of a pod into /proc, in the namespace that file stands for.
func (c *cluster) process(pid int, uid, file string) {
	c.Helper()
	dir := filepath.Join(c.proc, fmt.Sprint(pid))
	if err := os.MkdirAll(filepath.Join(dir, "ns"), 0o755); err != nil {
		c.Fatal(err)
	}
	for name, text := range map[string]string{
		"cgroup": "0::/kubepods/pod" + uid + "/x\n",
		"stat":   fmt.Sprintf("%d (pause) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", pid, pid),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			c.Fatal(err)
		}
	}
	if err := os.Symlink(file, filepath.Join(dir, "ns", "net")); err != nil {
		c.Fatal(err)
	}
}

// namespace makes a file that stands for one.
func (c *cluster) namespace() *os.File {
	c.Helper()
	f, err := os.CreateTemp(c.TempDir(), "ns")
	if err != nil {
		c.Fatal(err)
	}
	return f
}

func podYAML(ips, annotations string) string {
	return fmt.Sprintf("metadata: {name: a, namespace: shop, uid: %s, annotations: {%s}}\nspec: {nodeName: n1, serviceAccountName: web}\nstatus: {podIPs: [%s]}\n", podUID, annotations, ips)
}

func TestPodIsFoundByItsProcesses(t *testing.T) {
	c := newCluster(t)
	c.api.Put(nsPath, "metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}")
	c.api.Put(podsPath, podYAML("{ip: 10.0.0.7}", "ambit.dev/netns: /proc/1/ns/net, ambit.dev/cgroup: /sys/fs/cgroup"))
	c.start()
	c.until("the object's own words about its place count nothing", func(p Pod) bool { return p.NetNS == "" && p.Cgroup == "" && p.ServiceAccount == "web" })
	c.process(30, podUID, c.namespace().Name())
	c.until("the place is found without an event", func(p Pod) bool { return p.NetNS == filepath.Join(c.proc, "30/ns/net") })
	if err := os.RemoveAll(filepath.Join(c.proc, "30")); err != nil {
		t.Fatal(err)
	}
	c.until("its loss is noticed", func(p Pod) bool { return p.NetNS == "" })
}

// TestToldPod: between CNI ADD and the pod's first process only the container runtime knows where it is.
func TestToldPod(t *testing.T) {
	c := newCluster(t)
	c.start()
	ns := c.namespace()
	addr := []netip.Addr{netip.MustParseAddr("10.0.0.7")}
	told := Told{Sandbox: podUID, Namespace: "shop", Name: "a", Container: "x", NetNS: ns, Addresses: addr}
	if err := c.world.Tell(told); err != nil {
		t.Fatal(err)
	}
	c.pass(tellTime)
	p := c.until("the pod is there without an object", func(p Pod) bool { return p.Partial })
	if p.UID != podUID || p.Name != "a" || !strings.HasPrefix(p.NetNS, "/proc/self/fd/") || len(p.Addresses) != 1 {
		t.Errorf("%+v", p)
	}
	c.api.Put(podsPath, podYAML("", ""))
	c.until("the object has come", func(p Pod) bool {
		return !p.Partial && p.ServiceAccount == "web" && strings.HasPrefix(p.NetNS, "/proc/self/fd/") && len(p.Addresses) == 1
	})
	c.process(30, podUID, ns.Name())
	c.until("a process is in the namespace", func(p Pod) bool { return strings.HasSuffix(p.NetNS, "/30/ns/net") && len(p.Addresses) == 1 })
	if _, err := ns.Stat(); err != nil {
		t.Errorf("closed too early: %v", err)
	}
	c.api.Put(podsPath, podYAML("{ip: 10.0.0.7}", ""))
	c.until("the status has come", func(Pod) bool { _, err := ns.Stat(); return err != nil })
}

// TestSecondSandbox: the first one's process still runs when CNI is asked for the second.
func TestSecondSandbox(t *testing.T) {
	c := newCluster(t)
	c.api.Put(podsPath, podYAML("{ip: 10.0.0.7}", ""))
	c.process(30, podUID, c.namespace().Name())
	c.start()
	c.until("the first is found", func(p Pod) bool { return strings.HasSuffix(p.NetNS, "/30/ns/net") })
	ns := c.namespace()
	if err := c.world.Tell(Told{Sandbox: podUID, Container: "y", NetNS: ns, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.8")}}); err != nil {
		t.Fatal(err)
	}
	c.until("the second counts", func(p Pod) bool {
		return strings.HasPrefix(p.NetNS, "/proc/self/fd/") && p.Addresses[0].String() == "10.0.0.8"
	})
	c.world.Forget(podUID, "x") // the first is taken down late
	if _, err := ns.Stat(); err != nil {
		t.Errorf("the first one's end took the second: %v", err)
	}
	c.world.Forget(podUID, "y")
	c.until("the second is gone too", func(p Pod) bool { return strings.HasSuffix(p.NetNS, "/30/ns/net") })
	c.until("its namespace is not kept alive", func(Pod) bool { _, err := ns.Stat(); return err != nil })
}

// TestPeersThatCannotBeRead: any pod may be STRICT then.
func TestPeersThatCannotBeRead(t *testing.T) {
	if v := (View{Blind: true}); !v.strict(Pod{}, 80) {
		t.Error("a port may be excluded")
	}
}
