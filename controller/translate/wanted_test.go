package translate

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

func TestWantedFollowsPodThenNamespace(t *testing.T) {
	m := NewMesh(Options{})
	uid := m.opts.UID("shop", "web")
	labels := func(mode string) map[string]string {
		if mode == "-" {
			return nil
		}
		return map[string]string{modeLabel: mode}
	}
	for _, c := range []struct {
		namespace, pod string
		want           bool
	}{
		{"-", "-", false}, {"ambient", "-", true}, {"none", "-", false}, {"ambient", "none", false},
		{"-", "ambient", true}, {"none", "ambient", true}, {"ambient", "typo", false},
	} {
		for _, o := range []objects.Object{
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: labels(c.namespace)}},
			&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Labels: labels(c.pod)}},
		} {
			if err := m.Set(o); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.Wanted(uid); got != c.want {
			t.Errorf("namespace %q, pod %q: wanted %v", c.namespace, c.pod, got)
		}
	}
	m.Delete(Ref{Kind: objects.Pod, Namespace: "shop", Name: "web"})
	if m.Wanted(uid) {
		t.Error("a pod that is gone is wanted")
	}
}
