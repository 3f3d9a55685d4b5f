package objects

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

// world is a running directory with informers of two kinds.
type world struct {
	*testing.T
	path     string
	dir      *Directory
	pods     Lister[*corev1.Pod]
	policies Lister[*security.AuthorizationPolicy]
}

func run(t *testing.T, files map[string]string) *world {
	t.Helper()
	w := &world{T: t, path: t.TempDir()}
	for name, y := range files {
		w.put(name, y)
	}
	w.dir = NewDirectory(w.path, Options{Settle: time.Millisecond, Rescan: 50 * time.Millisecond, Epoch: 7})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	pods := start[*corev1.Pod](ctx, w, Pod)
	policies := start[*security.AuthorizationPolicy](ctx, w, AuthorizationPolicy)
	w.pods, w.policies = ListerOf[*corev1.Pod](pods), ListerOf[*security.AuthorizationPolicy](policies)
	go func() {
		defer close(done)
		if err := w.dir.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced, policies.HasSynced) {
		t.Fatal("not synced")
	}
	return w
}

func start[T Object](ctx context.Context, w *world, k Kind) cache.SharedIndexInformer {
	inf, err := Informer[T](w.dir, k)
	if err != nil {
		w.Fatal(err)
	}
	go inf.RunWithContext(ctx)
	return inf
}

// put replaces a file by rename.
func (w *world) put(name, y string) {
	w.Helper()
	tmp := filepath.Join(w.path, ".tmp")
	if err := os.WriteFile(tmp, []byte(y), 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(w.path, name)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) remove(name string) {
	w.Helper()
	if err := os.Remove(filepath.Join(w.path, name)); err != nil {
		w.Fatal(err)
	}
}

// until waits for what must come true.
func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("never: %s; problems: %v", what, w.dir.Problems())
		}
	}
}

func pod(name string) string { return strings.Replace(goodPod, "name: web", "name: "+name, 1) }

func (w *world) hasPod(name string) bool {
	_, ok := w.pods.Get("shop", name)
	return ok
}

func TestDirectoryIsFollowed(t *testing.T) {
	w := run(t, map[string]string{"a.yaml": pod("a") + "---\n" + pod("b"), ".hidden.yaml": pod("h"), "note.txt": "x"})
	if !w.hasPod("a") || !w.hasPod("b") || w.hasPod("h") {
		t.Fatalf("pods at first: %v", w.pods.List())
	}
	before := w.dir.Generation(Pod)
	if before>>32 != 7 {
		t.Errorf("generation %d does not start at the epoch", before)
	}
	w.put("c.yaml", pod("c"))
	w.until("a new file is seen", func() bool { return w.hasPod("c") })
	w.put("a.yaml", pod("a"))
	w.until("an object that left its file is gone", func() bool { return !w.hasPod("b") && w.hasPod("a") })
	w.remove("c.yaml")
	w.until("a removed file's objects are gone", func() bool { return !w.hasPod("c") })
	if got := w.dir.Generation(Pod); got != before+3 {
		t.Errorf("generation went from %d to %d with three changes", before, got)
	}
}

func TestMovingAnObjectNeverRemovesIt(t *testing.T) {
	w := run(t, map[string]string{"a.yaml": pod("a")})
	p, _ := w.pods.Get("shop", "a")
	w.put("b.yaml", pod("a"))
	w.until("the second file is refused", func() bool { return len(w.dir.Problems()) == 1 })
	if got := w.dir.Problems()[0]; got.File != "b.yaml" || !strings.Contains(got.Reason, "also in a.yaml") {
		t.Errorf("%+v", got)
	}
	w.remove("a.yaml")
	w.until("the second file is served", func() bool { return len(w.dir.Problems()) == 0 })
	if q, ok := w.pods.Get("shop", "a"); !ok || q.UID != p.UID {
		t.Errorf("the pod was %v, is %v", p, q)
	}
}

// TestBadFilesCostOnlyThemselves: what was good stays in force and the rest works on.
func TestBadFilesCostOnlyThemselves(t *testing.T) {
	w := run(t, map[string]string{"a.yaml": goodPolicy, "b.yaml": pod("b")})
	w.put("a.yaml", strings.Replace(goodPolicy, "methods", "method", 1))
	w.put("b.yaml", pod("b")+"---\n"+pod("c"))
	w.until("the good file is read", func() bool { return w.hasPod("c") })
	w.until("the bad one is reported", func() bool { return len(w.dir.Problems()) == 1 })
	got := w.dir.Problems()[0]
	if got.File != "a.yaml" || got.Document != 1 || got.Standing != "previous" || !strings.Contains(got.Reason, "spec.rules[0].to[0].operation.method") {
		t.Errorf("%+v", got)
	}
	if a, ok := w.policies.Get("shop", "payments"); !ok || len(a.Spec.Rules) != 1 {
		t.Errorf("the good version does not stand: %v", a)
	}
	w.put("a.yaml", "{")
	w.until("a file without any name is reported", func() bool {
		return slices.ContainsFunc(w.dir.Problems(), func(p Problem) bool { return strings.Contains(p.Reason, "not YAML") })
	})
	if _, ok := w.policies.Get("shop", "payments"); !ok {
		t.Error("the policy went with its file's content")
	}
	w.remove("a.yaml")
	w.until("a removed file takes its policy along", func() bool { _, ok := w.policies.Get("shop", "payments"); return !ok })
}

func TestUnreadablePolicyStandsClosed(t *testing.T) {
	w := run(t, map[string]string{"a.yaml": strings.Replace(goodPolicy, "methods", "method", 1)})
	a, ok := w.policies.Get("shop", "payments")
	if !ok || a.Annotations[UnreadableAnnotation] == "" {
		t.Fatalf("policy %v", a)
	}
	if p := w.dir.Problems(); len(p) != 1 || p[0].Standing != "closed" {
		t.Errorf("problems %v", p)
	}
	w.put("a.yaml", goodPolicy)
	w.until("the repaired policy is served", func() bool {
		a, ok := w.policies.Get("shop", "payments")
		return ok && a.Annotations[UnreadableAnnotation] == "" && len(w.dir.Problems()) == 0
	})
}

func TestDirectoryThatComesLaterAndGoes(t *testing.T) {
	w := run(t, map[string]string{"a.yaml": pod("a")})
	moved := w.path + ".moved"
	if err := os.Rename(w.path, moved); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(moved)
	w.until("the loss is reported", func() bool { return len(w.dir.Problems()) == 1 })
	if !w.hasPod("a") {
		t.Error("objects went with the directory")
	}
	if err := os.Rename(moved, w.path); err != nil {
		t.Fatal(err)
	}
	w.put("b.yaml", pod("b"))
	w.until("it is followed again", func() bool { return w.hasPod("b") && len(w.dir.Problems()) == 0 })
}

// TestMovedWhileItIsRead: no file is taken for removed.
func TestMovedWhileItIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "a.yaml"), []byte(goodPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if found, err := scanOpen(dir); err != nil || len(found) != 1 {
		t.Errorf("found %v, %v", found, err)
	}
}

// TestManyChangesConverge: a watch that falls behind lists again and ends at the same state.
func TestManyChangesConverge(t *testing.T) {
	w := run(t, nil)
	for i := range 40 {
		var b strings.Builder
		for j := range 100 {
			fmt.Fprintf(&b, "---\n%s", strings.Replace(pod(fmt.Sprintf("p%d", j)), "image: x", fmt.Sprintf("image: v%d", i), 1))
		}
		w.put("many.yaml", b.String())
	}
	w.until("the last version is served", func() bool {
		list := w.pods.List()
		return len(list) == 100 && !slices.ContainsFunc(list, func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image != "v39" })
	})
}
