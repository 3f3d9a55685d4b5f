package translate

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

const benchPods, benchServices, benchNamespaces = 10_000, 1_000, 50

// cluster returns 10,000 pods of 1,000 services on 100 nodes in 50 namespaces, a policy per namespace
// with a selector, and STRICT in every other one.
func cluster(b *testing.B) []objects.Object {
	var out []objects.Object
	for i := range benchServices {
		namespace, app := fmt.Sprintf("ns-%d", i%benchNamespaces), fmt.Sprintf("app-%d", i)
		out = append(out, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app},
			Spec: corev1.ServiceSpec{ClusterIP: fmt.Sprintf("10.96.%d.%d", i/250, i%250+1), Selector: map[string]string{"app": app},
				Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}})
	}
	for i := range benchPods {
		out = append(out, benchPod(i, corev1.ConditionTrue))
	}
	for i := range benchNamespaces {
		namespace := fmt.Sprintf("ns-%d", i)
		text := policyYAML(namespace, fmt.Sprintf(`{selector: {matchLabels: {app: app-%d}}, rules: [{from: [{source: {namespaces: [%s]}}]}]}`, i, namespace))
		if i%2 == 0 {
			text += peerYAML(namespace, `{mtls: {mode: STRICT}}`)
		}
		docs, err := objects.Decode([]byte(text), objects.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		for _, d := range docs {
			out = append(out, d.Object)
		}
	}
	return out
}

func benchPod(i int, ready corev1.ConditionStatus) *corev1.Pod {
	s := i % benchServices
	p := pod(fmt.Sprintf("ns-%d", s%benchNamespaces), fmt.Sprintf("pod-%d", i), fmt.Sprintf("node-%d", i%100), "default")
	p.Labels = map[string]string{"app": fmt.Sprintf("app-%d", s), "version": "v1", "pod-template-hash": fmt.Sprint(s)}
	p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.%d.%d.%d", i/62500, i/250%250, i%250+1)}}
	p.Status.Conditions[0].Status = ready
	return p
}

func full(b *testing.B, objs []objects.Object) *Mesh {
	m := NewMesh(Options{})
	put(b, m, objs...)
	changes(b, m)
	return m
}

// BenchmarkFull translates the whole cluster.
func BenchmarkFull(b *testing.B) {
	objs := cluster(b)
	b.ReportAllocs()
	for b.Loop() {
		full(b, objs)
	}
}

// BenchmarkChange makes one change in the whole cluster and takes what differs.
func BenchmarkChange(b *testing.B) {
	m := full(b, cluster(b))
	ready := [2]*corev1.Pod{benchPod(5000, corev1.ConditionFalse), benchPod(5000, corev1.ConditionTrue)}
	policy := func(spec string) objects.Object {
		docs, err := objects.Decode([]byte(policyYAML("ns-7", spec)), objects.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		return docs[0].Object
	}
	policies := [2]objects.Object{policy(`{selector: {matchLabels: {app: app-7}}}`), policy(`{selector: {matchLabels: {app: app-57}}}`)}
	service := [2]*corev1.Service{}
	for i := range service {
		service[i] = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns-3", Name: "app-3"},
			Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.4", Selector: map[string]string{"app": "app-3"}, Ports: []corev1.ServicePort{{Port: int32(80 + i)}}}}
	}
	for _, bb := range []struct {
		name string
		objs [2]objects.Object
	}{
		{"readiness of a pod", [2]objects.Object{ready[0], ready[1]}},
		{"selector of a policy", policies},
		{"ports of a service", [2]objects.Object{service[0], service[1]}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				put(b, m, bb.objs[i%2])
				if len(changes(b, m)) == 0 {
					b.Fatal("nothing changed")
				}
			}
		})
	}
}
