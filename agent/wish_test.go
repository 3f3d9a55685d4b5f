package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWish(t *testing.T) {
	ambient := map[string]string{labelMode: "ambient"}
	none := map[string]string{labelMode: "none"}
	for _, tt := range []struct {
		name string
		ns   map[string]string
		pod  Pod
		want Desired
		why  string
	}{
		{"nothing", nil, Pod{}, DesiredNone, "no label"},
		{"namespace", ambient, Pod{}, DesiredAmbient, "namespace label"},
		{"pod", nil, Pod{Labels: ambient}, DesiredAmbient, "pod label"},
		{"pod goes before namespace", ambient, Pod{Labels: none}, DesiredNone, "pod label"},
		{"namespace none", none, Pod{}, DesiredNone, "namespace label"},
		{"host network", ambient, Pod{HostNetwork: true}, DesiredNone, "host network: the node's own namespace is never captured"},
		{"finished", ambient, Pod{Finished: true, HostNetwork: true}, DesiredNone, "the pod has finished"},
		{"another word", map[string]string{labelMode: "Ambient"}, Pod{}, DesiredNone,
			"namespace label istio.io/dataplane-mode=Ambient is neither ambient nor none"},
		{"a long word", nil, Pod{Labels: map[string]string{labelMode: strings.Repeat("x", 5000)}}, DesiredNone,
			"pod label istio.io/dataplane-mode=" + strings.Repeat("x", 64) + "... is neither ambient nor none"},
	} {
		if got := wishOf(Namespace{Labels: tt.ns}, tt.pod); got.desired != tt.want || got.why != tt.why {
			t.Errorf("%s: got %s because %q, want %s because %q", tt.name, got.desired, got.why, tt.want, tt.why)
		}
	}
}

func TestExcludedPortsOfAWish(t *testing.T) {
	allowed := Namespace{Labels: map[string]string{labelMode: "ambient"}, Annotations: map[string]string{annotationAllowExclude: "true"}}
	notAllowed := Namespace{Labels: allowed.Labels, Annotations: map[string]string{annotationAllowExclude: "yes"}}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprint(1000+i))
	}
	for _, tt := range []struct {
		name, list string
		ns         Namespace
		ports      []uint16
		notes      int
	}{
		{"two", "9090, 80", allowed, []uint16{80, 9090}, 0},
		{"twice the same", "80,80", allowed, []uint16{80}, 0},
		{"not allowed", "80", notAllowed, nil, 1},
		{"the mesh's own", "15008", allowed, nil, 1},
		{"nonsense", "0,-1,65536,http,,*", allowed, nil, 6},
		{"too many", strings.Join(many, ","), allowed, ports(1000, maxExcluded), 1},
	} {
		got := wishOf(tt.ns, Pod{Annotations: map[string]string{annotationExclude: tt.list}})
		if diff := cmp.Diff(tt.ports, got.excluded); diff != "" || len(got.notes) != tt.notes {
			t.Errorf("%s: notes %q, ports (-want +got):\n%s", tt.name, got.notes, diff)
		}
	}
}

func ports(from, n int) (out []uint16) {
	for i := range n {
		out = append(out, uint16(from+i))
	}
	return out
}

func FuzzWish(f *testing.F) {
	f.Add("ambient", "80,443")
	f.Add("", "15008")
	f.Add("x", ",,,")
	f.Fuzz(func(t *testing.T, mode, list string) {
		ns := Namespace{Annotations: map[string]string{annotationAllowExclude: "true"}}
		w := wishOf(ns, Pod{Labels: map[string]string{labelMode: mode}, Annotations: map[string]string{annotationExclude: list}})
		if len(w.excluded) > maxExcluded || len(w.notes) > maxExcluded+1 || len(w.why) > 300 {
			t.Errorf("%d ports, %d notes, %d bytes of why", len(w.excluded), len(w.notes), len(w.why))
		}
		for _, p := range w.excluded {
			if p == hbonePort || p == 0 {
				t.Errorf("port %d is excluded", p)
			}
		}
	})
}
