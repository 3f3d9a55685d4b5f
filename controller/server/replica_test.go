package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/ambitmesh/ambit/controller/kube"
	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/objects"
	client "github.com/ambitmesh/ambit/internal/xds"
)

// view is one replica's view of objects that all replicas share: it can be stopped.
type view struct {
	objects.Source

	mu sync.Mutex
	on chan struct{} // closed while it is not stopped
}

func newView(src objects.Source) *view {
	v := &view{Source: src, on: make(chan struct{})}
	close(v.on)
	return v
}

func (v *view) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.on = make(chan struct{})
}

func (v *view) start() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.on)
}

func (v *view) wait(ctx context.Context) {
	v.mu.Lock()
	on := v.on
	v.mu.Unlock()
	select {
	case <-on:
	case <-ctx.Done():
	}
}

// Run implements objects.Source: the test runs what is shared.
func (v *view) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// ListerWatcher implements objects.Source.
func (v *view) ListerWatcher(k objects.Kind) (cache.ListerWatcher, error) {
	lw, err := v.Source.ListerWatcher(k)
	return viewOf{lw, v}, err
}

type viewOf struct {
	cache.ListerWatcher

	view *view
}

// IsWatchListSemanticsUnSupported tells client-go to list, then watch.
func (viewOf) IsWatchListSemanticsUnSupported() bool { return true }

func (w viewOf) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	w.view.wait(ctx)
	return cache.ToListerWithContext(w.ListerWatcher).ListWithContext(ctx, o)
}

func (w viewOf) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	got, err := cache.ToWatcherWithContext(w.ListerWatcher).WatchWithContext(ctx, o)
	if err != nil {
		return nil, err
	}
	return watch.Filter(got, func(e watch.Event) (watch.Event, bool) { w.view.wait(ctx); return e, true }), nil
}

// replicas are two controllers of one cluster.
type replicas struct {
	a, b         *controller
	viewA, viewB *view
}

// gatewayLists are the kinds of Gateway API, of which the cluster has no objects.
func gatewayLists() map[schema.GroupVersionResource]string {
	lists := map[schema.GroupVersionResource]string{}
	for resource, kind := range map[string]string{
		"gatewayclasses": "GatewayClass", "gateways": "Gateway", "listenersets": "ListenerSet", "backendtlspolicies": "BackendTLSPolicy",
		"httproutes": "HTTPRoute", "grpcroutes": "GRPCRoute", "tlsroutes": "TLSRoute", "tcproutes": "TCPRoute", "udproutes": "UDPRoute",
	} {
		lists[schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: resource}] = kind + "List"
	}
	return lists
}

func startReplicas(t *testing.T) *replicas {
	t.Helper()
	a := startController(t, nil)
	dir := objects.NewDirectory(filepath.Join(a.dir, "objects"), objects.Options{Settle: 10 * time.Millisecond, Rescan: 200 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- dir.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	cs, dyn := fake.NewClientset(), dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), gatewayLists())
	r := &replicas{a: a, viewA: newView(dir), viewB: newView(dir)}
	in := func(id string, v *view) func(*Config) {
		return func(c *Config) {
			cluster, err := kube.New(kube.Config{Client: cs, Dynamic: dyn, Secret: types.NamespacedName{Namespace: "ambit-system", Name: "ambit-ca"},
				Lease: types.NamespacedName{Namespace: "ambit-system", Name: "ambit-controller"}, Identity: id, Log: slog.New(slog.DiscardHandler), Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			c.Cluster, c.Source = cluster, func(uint32) objects.Source { return v }
			c.Captures.RetireLag = 100 * time.Millisecond
		}
	}
	a.mutate = in("a", r.viewA)
	a.run()
	r.b = startController(t, in("b", r.viewB))
	r.b.run()
	for _, c := range []*controller{r.a, r.b} {
		until(t, "ready", c.server.cache.Ready)
	}
	return r
}

func TestReplicasHaveOneRootAndSignForEachOther(t *testing.T) {
	r := startReplicas(t)
	if r.a.server.ca.Bundle() != r.b.server.ca.Bundle() {
		t.Error("two roots")
	}
	m := r.a.join("n1")
	m.c = r.b
	m.connect()
	until(t, "the other replica serves", func() bool { return m.store.Snapshot().Synced() })
	leads := func(c *controller) bool { return c.server.Status().Leads }
	until(t, "one leads", func() bool { return leads(r.a) != leads(r.b) })
}

func TestAMovedProxyNeverGoesBack(t *testing.T) {
	r := startReplicas(t)
	r.a.put("web.yaml", podYAML("web", "n1", "10.0.0.1"))
	r.a.put("deny.yaml", policyYAML("p", "DENY"))
	m := r.a.join("n1").connect()
	until(t, "the policy", func() bool { return m.store.Snapshot().Policy("shop/p") != nil })
	until(t, "both know it", func() bool { return r.b.server.mesh.Resource(xds.AuthorizationType, "shop/p") != nil })
	r.viewB.stop()
	r.a.drop("deny.yaml")
	r.a.put("late.yaml", podYAML("late", "n1", "10.0.0.9"))
	until(t, "the policy is gone", func() bool {
		return m.store.Snapshot().Policy("shop/p") == nil && m.store.Snapshot().Workload(uidOf("late")) != nil
	})
	m.stop()

	m.c = r.b
	m.connect()
	until(t, "the replica notices that it is behind", func() bool { return held(r.b) > 0 })
	for range 20 {
		if m.store.Snapshot().Policy("shop/p") != nil || m.store.Snapshot().Workload(uidOf("late")) == nil {
			t.Fatal("the proxy went back in time")
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.viewB.start()
	r.a.put("new.yaml", policyYAML("q", "DENY"))
	until(t, "it follows the replica once that has caught up", func() bool { return m.store.Snapshot().Policy("shop/q") != nil })
	if m.store.Snapshot().Policy("shop/p") != nil {
		t.Error("a policy that was deleted is back")
	}
}

// held is how many answers a controller has held.
func held(c *controller) (n float64) {
	all, err := c.server.cfg.Registry.Gather()
	if err != nil {
		return 0
	}
	for _, f := range all {
		if f.GetName() == "ambit_xds_stale_holds_total" {
			n += f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return n
}

func policyYAML(name, action string) string {
	return `{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"name":"` + name + `","namespace":"shop"},
"spec":{"action":"` + action + `","rules":[{"from":[{"source":{"namespaces":["other"]}}]}]}}`
}

// Each replica hears of its own proxies only; the mark tells it of the others' pods.
func TestMarkedPodsAreAnnouncedByBothReplicas(t *testing.T) {
	r := startReplicas(t)
	r.a.put("web.yaml", podYAML("web", "n1", "10.0.0.1"))
	near, far := r.a.join("n1").connect(), r.a.join("n2")
	far.c = r.b
	far.connect()
	until(t, "both know the pod", func() bool {
		return near.store.Snapshot().Workload(uidOf("web")) != nil && far.store.Snapshot().Workload(uidOf("web")) != nil
	})
	near.client.SetCaptured([]string{uidOf("web")})
	until(t, "announced by the replica that was told", func() bool { return near.hbone(uidOf("web")) })
	marked := strings.Replace(podYAML("web", "n1", "10.0.0.1"), `"labels":`, `"annotations":{"ambient.istio.io/redirection":"enabled"},"labels":`, 1)
	r.a.put("web.yaml", marked)
	until(t, "announced by the other", func() bool { return far.hbone(uidOf("web")) })

	near.client.SetCaptured(nil)
	r.a.put("web.yaml", podYAML("web", "n1", "10.0.0.1"))
	until(t, "confirmed as plain", func() bool { return near.isPlain(uidOf("web")) })
	until(t, "plain for both", func() bool { return !near.hbone(uidOf("web")) && !far.hbone(uidOf("web")) })
}

// lists answers as an API server does: a list is as new as it must be.
type lists struct {
	cache.ListerWatcher

	mu    sync.Mutex
	asked []metav1.ListOptions
}

func (*lists) IsWatchListSemanticsUnSupported() bool { return true }

func (l *lists) ListWithContext(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, o)
	version := "100"
	if o.ResourceVersion == "150" {
		version = "160"
	}
	return &metav1.List{ListMeta: metav1.ListMeta{ResourceVersion: version}}, nil
}

func (*lists) WatchWithContext(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return watch.NewFake(), nil
}

func TestAKindIsReadAnewWhenAProxyHasSeenMore(t *testing.T) {
	f := &feed{cluster: true, wake: make(chan struct{}, 1), versions: xds.Versions{}, reached: xds.Versions{}, pods: map[string]struct{}{}}
	w := newFollower(f, objects.Service)
	f.followers = map[objects.Kind]*follower{objects.Service: w}
	ctx, cancel := context.WithCancel(t.Context())
	l, done := &lists{}, make(chan struct{})
	go func() { defer close(done); w.run(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	reached := func() uint64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.reached[string(objects.Service)]
	}
	until(t, "the first list", func() bool { return reached() == 100 })
	f.look(xds.Versions{"Service": 90, "Unknown": 7})
	f.look(xds.Versions{"Service": 150})
	until(t, "a newer list", func() bool { return reached() == 160 })
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.asked[len(l.asked)-1]
	if len(l.asked) != 2 || last.ResourceVersionMatch != metav1.ResourceVersionMatchNotOlderThan || last.Limit != 0 {
		t.Errorf("asked %+v", l.asked)
	}
}

func TestAnotherClustersVersionsAreNotComparedWithOurs(t *testing.T) {
	r := startReplicas(t)
	m := r.a.join("n1").connect()
	r.a.put("ns.yaml", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"11111111-2222-3333-4444-555555555555"}}`)
	r.a.put("web.yaml", podYAML("web", "n1", "10.0.0.1"))
	until(t, "the pod", func() bool { return m.store.Snapshot().Workload(uidOf("web")) != nil })
	until(t, "versions name the cluster", func() bool {
		return strings.Contains(m.store.Snapshot().Seen()[client.AddressType], "Pod@11111111=")
	})
	here := r.a.server.cache.Versions()
	if here.Behind(xds.Versions{"Pod@99999999": 1 << 40, "Pod": 1 << 40}) {
		t.Error("behind what was seen in another cluster")
	}
	if !here.Behind(xds.Versions{"Pod@11111111": 1 << 40}) {
		t.Error("not behind what was seen here")
	}
}
