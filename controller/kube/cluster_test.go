package kube

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/ambitmesh/ambit/controller/translate"
)

// emptyDynamic has no objects.
func emptyDynamic() *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), gatewayLists())
}

// until waits for what must come about; the limit is only for a test that fails.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in a minute: %s", what)
}

func TestOneHoldsTheLeaseAndHandsItOver(t *testing.T) {
	cs := fake.NewClientset()
	name := types.NamespacedName{Namespace: "ambit-system", Name: "ambit-controller"}
	var mu sync.Mutex
	leading := map[string]int{}
	most := 0
	begin := func(id string) (*Lease, func()) {
		l := &Lease{Client: cs, Name: name, Identity: id, Log: slog.New(slog.DiscardHandler), Life: 10 * time.Second}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- l.Run(ctx, func(ctx context.Context) {
				mu.Lock()
				leading[id]++
				most = max(most, len(leading))
				mu.Unlock()
				<-ctx.Done()
				mu.Lock()
				delete(leading, id)
				mu.Unlock()
			})
		}()
		stop := sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("lease of %s: %v", id, err)
			}
		})
		t.Cleanup(stop)
		return l, stop
	}
	a, stopA := begin("a")
	until(t, "a leads", a.Held)
	b, _ := begin("b")
	until(t, "b knows who leads", func() bool { return b.Holder() == "a" })
	if b.Held() {
		t.Error("two hold the lease")
	}
	stopA()
	until(t, "b leads", b.Held)
	mu.Lock()
	defer mu.Unlock()
	if a.Held() || most != 1 {
		t.Errorf("a still holds: %v; %d at once", a.Held(), most)
	}
}

func TestAReplicaPublishesItsRoots(t *testing.T) {
	cs := versioned()
	authority := mustReplica(t, cs)
	c, err := New(Config{Client: cs, Dynamic: emptyDynamic(), Secret: caName, ConfigMap: rootName,
		Lease: types.NamespacedName{Namespace: "ambit-system", Name: "l"}, Identity: "a", Log: slog.New(slog.DiscardHandler), Now: time.Now, Refresh: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MayRotate(); err == nil {
		t.Error("may rotate without the lease")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Run(ctx, Work{CA: authority, Statuses: func() []translate.Status { return nil }, Changed: make(chan struct{})})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	published := func() string {
		m, err := cs.CoreV1().ConfigMaps(rootName.Namespace).Get(t.Context(), rootName.Name, metav1.GetOptions{})
		if err != nil {
			return ""
		}
		return m.Data[RootKey]
	}
	until(t, "the bundle is published", func() bool { return published() == authority.Bundle() })
	until(t, "this one holds the lease", func() bool { return c.MayRotate() == nil })
	other := mustReplica(t, cs)
	if err := other.Rotate("prepare", false); err != nil {
		t.Fatal(err)
	}
	until(t, "the other's step is published", func() bool { return published() == other.Bundle() })
}
