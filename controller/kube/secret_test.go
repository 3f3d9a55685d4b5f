package kube

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ambitmesh/ambit/controller/ca"
)

var (
	caName   = types.NamespacedName{Namespace: "ambit-system", Name: "ambit-ca"}
	rootName = types.NamespacedName{Namespace: "ambit-system", Name: "ambit-ca-root"}
)

// versioned is a clientset whose Secrets have versions, and conflicts, as an API server's do.
func versioned() *fake.Clientset {
	cs := fake.NewClientset()
	var mu sync.Mutex
	n := 0
	stamp := func(o *corev1.Secret) { n++; o.ResourceVersion = strconv.Itoa(n) }
	cs.PrependReactor("create", "secrets", func(a clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		if c, ok := a.(clienttesting.CreateAction); ok {
			if o, ok := c.GetObject().(*corev1.Secret); ok {
				stamp(o)
			}
		}
		return false, nil, nil
	})
	cs.PrependReactor("update", "secrets", func(a clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		u, ok := a.(clienttesting.UpdateAction)
		if !ok {
			return false, nil, nil
		}
		o, ok := u.GetObject().(*corev1.Secret)
		if !ok {
			return false, nil, nil
		}
		have, err := cs.Tracker().Get(a.GetResource(), o.Namespace, o.Name)
		if err != nil {
			return true, nil, err
		}
		if old, ok := have.(*corev1.Secret); !ok || old.ResourceVersion != o.ResourceVersion {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, o.Name, errors.New("it has changed"))
		}
		stamp(o)
		return false, nil, nil
	})
	return cs
}

func replica(t *testing.T, cs *fake.Clientset, life time.Duration) (*ca.CA, error) {
	t.Helper()
	return ca.Open(ca.Options{Dir: t.TempDir(), Store: Secret{Client: cs, Name: caName}, TrustDomain: "cluster.local", LeafLife: life})
}

func mustReplica(t *testing.T, cs *fake.Clientset) *ca.CA {
	t.Helper()
	c, err := replica(t, cs, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReplicasThatStartTogetherMakeOneRoot(t *testing.T) {
	for range 20 {
		cs := versioned()
		const replicas = 4
		var got [replicas]*ca.CA
		var errs [replicas]error
		var all sync.WaitGroup
		begin := make(chan struct{})
		for i := range replicas {
			all.Go(func() {
				<-begin
				got[i], errs[i] = replica(t, cs, time.Hour*time.Duration(i+1)) // each would write its own life too
			})
		}
		close(begin)
		all.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		fresh := 0
		for _, c := range got {
			if c.Bundle() != got[0].Bundle() {
				t.Fatal("two roots")
			}
			if c.Fresh() {
				fresh++
			}
		}
		if fresh != 1 {
			t.Errorf("%d replicas made the root", fresh)
		}
	}
}

func TestARotationReachesTheOtherReplica(t *testing.T) {
	cs := versioned()
	a, b := mustReplica(t, cs), mustReplica(t, cs)
	if err := a.Rotate("prepare", false); err != nil {
		t.Fatal(err)
	}
	if err := b.Rotate("prepare", false); !errors.Is(err, ca.ErrRotation) {
		t.Errorf("a replica that is behind rotated: %v", err)
	}
	epoch := b.Epoch()
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.Bundle() != b.Bundle() || len(b.Roots()) != 2 || b.Epoch() == epoch {
		t.Errorf("%d roots after the other's step", len(b.Roots()))
	}
	epoch = b.Epoch()
	if err := b.Refresh(t.Context()); err != nil || b.Epoch() != epoch {
		t.Errorf("nothing has changed: %v, epoch %d", err, b.Epoch())
	}
	if err := b.Rotate("activate", false); err != nil {
		t.Errorf("the next step by the other replica: %v", err)
	}
	if err := cs.CoreV1().Secrets(caName.Namespace).Delete(t.Context(), caName.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Refresh(t.Context()); err == nil || len(a.Roots()) != 2 {
		t.Errorf("a lost Secret was taken for a new beginning: %v", err)
	}
}

func TestAUsersSecretIsUsedAndKept(t *testing.T) {
	cs := versioned()
	secrets := cs.CoreV1().Secrets(caName.Namespace)
	_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: caName.Namespace, Name: caName.Name}, Data: map[string][]byte{"note": []byte("x")}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustReplica(t, cs)
	got, err := secrets.Get(t.Context(), caName.Name, metav1.GetOptions{})
	if err != nil || string(got.Data["note"]) != "x" || got.Data[ca.StateFile] == nil {
		t.Errorf("%v, %v", got.Data, err)
	}
	got.Data = map[string][]byte{ca.StateFile: []byte("{")}
	if _, err := secrets.Update(t.Context(), got, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := replica(t, cs, time.Hour); !errors.Is(err, ca.ErrCorrupt) {
		t.Errorf("a corrupt Secret: %v", err)
	}
}

func TestBundle(t *testing.T) {
	b := Bundle{Client: fake.NewClientset(), Name: rootName}
	read := func() string {
		t.Helper()
		m, err := b.Client.CoreV1().ConfigMaps(rootName.Namespace).Get(t.Context(), rootName.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m.Data[RootKey]
	}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return b.Create(t.Context(), "one") }, "one"},
		{func() error { return b.Create(t.Context(), "two") }, "one"},
		{func() error { return b.Publish(t.Context(), "two") }, "two"},
		{func() error { return b.Publish(t.Context(), "two") }, "two"},
	} {
		if err := step.do(); err != nil || read() != step.want {
			t.Errorf("%v, got %q, want %q", err, read(), step.want)
		}
	}
}
