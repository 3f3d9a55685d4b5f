package monitoring

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// monitor is what of a PodMonitor must fit what is installed.
type monitor struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Spec       struct {
		Selector            metav1.LabelSelector `json:"selector"`
		PodMetricsEndpoints []struct {
			Port        string `json:"port"`
			Path        string `json:"path"`
			Relabelings []struct {
				SourceLabels []string `json:"sourceLabels"`
				TargetLabel  string   `json:"targetLabel"`
			} `json:"relabelings"`
		} `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

// workload is a DaemonSet or Deployment of the base.
type workload struct {
	Kind     string            `json:"kind"`
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Template corev1.PodTemplateSpec `json:"template"`
	} `json:"spec"`
}

func read(t *testing.T, file string, each func(doc []byte)) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		each([]byte(doc))
	}
}

// base is the workloads of the base, by name.
func base(t *testing.T) map[string]workload {
	t.Helper()
	out := map[string]workload{}
	for _, file := range []string{"agent", "ztunnel", "controller"} {
		read(t, "../base/"+file+".yaml", func(doc []byte) {
			var w workload
			if err := yaml.Unmarshal(doc, &w); err != nil {
				t.Fatal(err)
			}
			if w.Kind == "DaemonSet" || w.Kind == "Deployment" {
				out[w.Metadata.Name] = w
			}
		})
	}
	return out
}

func TestPodMonitorsFindWhatIsInstalled(t *testing.T) {
	left := base(t)
	if len(left) != 3 {
		t.Fatalf("%d workloads in the base", len(left))
	}
	read(t, "podmonitors.yaml", func(doc []byte) {
		var m monitor
		if err := yaml.UnmarshalStrict(doc, &m); err != nil {
			t.Fatal(err)
		}
		w, ok := left[m.Metadata.Name]
		if !ok || m.Kind != "PodMonitor" || m.APIVersion != "monitoring.coreos.com/v1" || m.Metadata.Namespace != w.Metadata.Namespace {
			t.Errorf("%s %s/%s: no such workload in the base", m.Kind, m.Metadata.Namespace, m.Metadata.Name)
			return
		}
		delete(left, m.Metadata.Name)
		judge(t, m, w)
	})
	if len(left) > 0 {
		t.Errorf("no monitor of %v", slices.Sorted(maps.Keys(left)))
	}
}

func judge(t *testing.T, m monitor, w workload) {
	t.Helper()
	s, err := metav1.LabelSelectorAsMap(&m.Spec.Selector)
	if err != nil || len(s) == 0 {
		t.Errorf("%s: selector %v: %v", m.Metadata.Name, m.Spec.Selector, err)
	}
	for k, v := range s {
		if w.Spec.Template.Labels[k] != v {
			t.Errorf("%s selects %s=%s, its pods have %q", m.Metadata.Name, k, v, w.Spec.Template.Labels[k])
		}
	}
	if len(m.Spec.PodMetricsEndpoints) != 1 {
		t.Errorf("%s has %d endpoints", m.Metadata.Name, len(m.Spec.PodMetricsEndpoints))
	}
	for _, e := range m.Spec.PodMetricsEndpoints {
		ports := w.Spec.Template.Spec.Containers[0].Ports
		i := slices.IndexFunc(ports, func(p corev1.ContainerPort) bool { return p.Name == e.Port })
		if i < 0 {
			t.Errorf("%s: no container port is named %q", m.Metadata.Name, e.Port)
		} else if got := ports[i].ContainerPort; got != 15020 {
			t.Errorf("%s: port %s is %d, metrics are on 15020", m.Metadata.Name, e.Port, got)
		}
		if want := w.Spec.Template.Annotations["prometheus.io/path"]; e.Path != want {
			t.Errorf("%s: path %q, annotated %q", m.Metadata.Name, e.Path, want)
		}
	}
}
