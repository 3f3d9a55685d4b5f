package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	securityapi "istio.io/api/security/v1beta1"
	typev1beta1 "istio.io/api/type/v1beta1"
	security "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

// TestHostNetworkIsNeverHeld: in a listed namespace the plugin asks for every pod, should a runtime call it
// for one on the host's network, and gets its answer at once, with no proxy there and nothing captured.
func TestHostNetworkIsNeverHeld(t *testing.T) {
	v := View{Namespaces: map[string]Namespace{"shop": {Labels: map[string]string{labelMode: "ambient"}}}}
	for host, want := range map[bool]bool{true: true, false: false} {
		obj := Pod{Namespace: "shop", HostNetwork: host}
		p := &pod{obj: obj, wish: wishOf(v, obj)}
		if done, why := p.safe(); done != want {
			t.Errorf("host network %v: it may speak: %v (%v)", host, done, why)
		}
	}
}

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
		if got := wishOf(View{Namespaces: map[string]Namespace{"": {Labels: tt.ns}}}, tt.pod); got.desired != tt.want || got.why != tt.why {
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
		got := wishOf(View{Namespaces: map[string]Namespace{"": tt.ns}}, Pod{Annotations: map[string]string{annotationExclude: tt.list}})
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
		w := wishOf(View{Namespaces: map[string]Namespace{"": ns}}, Pod{Labels: map[string]string{labelMode: mode}, Annotations: map[string]string{annotationExclude: list}})
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

func TestStrictVoidsExclusion(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	web := map[string]string{"app": "web"}
	for _, tt := range []struct {
		name  string
		peers []Peer
		want  []uint16
	}{
		{"no policy", nil, []uint16{80, 443}},
		{"mesh", []Peer{{Namespace: rootNamespace, Mode: Strict}}, nil},
		{"mesh, and the namespace is permissive", []Peer{{Namespace: rootNamespace, Mode: Strict}, {Namespace: "shop", Mode: Permissive}}, []uint16{80, 443}},
		{"namespace inherits", []Peer{{Namespace: rootNamespace, Mode: Strict}, {Namespace: "shop"}}, nil},
		{"namespace", []Peer{{Namespace: "shop", Mode: Strict}}, nil},
		{"another namespace", []Peer{{Namespace: "bank", Mode: Strict}}, []uint16{80, 443}},
		{"the oldest counts", []Peer{{Namespace: "shop", Name: "a", Mode: Strict, Created: at(2)}, {Namespace: "shop", Name: "b", Mode: Permissive, Created: at(1)}}, []uint16{80, 443}},
		{"the unreadable one counts", []Peer{{Namespace: "shop", Name: "a", Mode: Strict, Created: at(2), Bad: true}, {Namespace: "shop", Name: "b", Mode: Permissive, Created: at(1)}}, nil},
		{"selected", []Peer{{Namespace: "shop", Selector: web, Mode: Strict}}, nil},
		{"others selected", []Peer{{Namespace: "shop", Selector: map[string]string{"app": "db"}, Mode: Strict}}, []uint16{80, 443}},
		{"one port", []Peer{{Namespace: "shop", Selector: web, Ports: map[uint32]MTLS{443: Strict}}}, []uint16{80}},
		{"one port open", []Peer{{Namespace: "shop", Mode: Strict}, {Namespace: "shop", Name: "w", Selector: web, Ports: map[uint32]MTLS{443: Permissive}}}, []uint16{443}},
	} {
		v := View{Peers: tt.peers, Namespaces: map[string]Namespace{"shop": {
			Labels: map[string]string{labelMode: "ambient"}, Annotations: map[string]string{annotationAllowExclude: "true"},
		}}}
		got := wishOf(v, Pod{Namespace: "shop", Labels: web, Annotations: map[string]string{annotationExclude: "443, 80"}})
		if diff := cmp.Diff(tt.want, got.excluded); diff != "" || len(got.notes) != 2-len(tt.want) {
			t.Errorf("%s: notes %q, ports (-want +got):\n%s", tt.name, got.notes, diff)
		}
	}
}

func TestPeerThatCannotBeUnderstoodIsStrict(t *testing.T) {
	mode := func(m int32) *securityapi.PeerAuthentication_MutualTLS {
		return &securityapi.PeerAuthentication_MutualTLS{Mode: securityapi.PeerAuthentication_MutualTLS_Mode(m)}
	}
	ports := map[uint32]*securityapi.PeerAuthentication_MutualTLS{80: mode(2)}
	selector := &typev1beta1.WorkloadSelector{MatchLabels: map[string]string{"app": "web"}}
	for name, tt := range map[string]struct {
		pa  *security.PeerAuthentication
		bad bool
	}{
		"empty":                    {&security.PeerAuthentication{}, false},
		"ports with a selector":    {&security.PeerAuthentication{Spec: securityapi.PeerAuthentication{Selector: selector, PortLevelMtls: ports}}, false},
		"ports without a selector": {&security.PeerAuthentication{Spec: securityapi.PeerAuthentication{PortLevelMtls: ports}}, true},
		"unknown mode":             {&security.PeerAuthentication{Spec: securityapi.PeerAuthentication{Mtls: mode(9)}}, true},
		"a stand-in":               {&security.PeerAuthentication{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{objects.UnreadableAnnotation: "x"}}}, true},
	} {
		if got := peerOf(tt.pa); got.Bad != tt.bad || tt.bad && got.Mode != Strict {
			t.Errorf("%s: got %+v, want bad %v", name, got, tt.bad)
		}
	}
}
