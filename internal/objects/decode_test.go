package objects

import (
	"errors"
	"strings"
	"testing"

	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
)

const goodPod = `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {nodeName: node-a, containers: [{name: c, image: x}]}
`

const goodPolicy = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: payments, namespace: shop}
spec:
  selector: {matchLabels: {app: payments}}
  rules:
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/orders"]}}]
    to: [{operation: {methods: [GET], paths: ["/api/*"]}}]
`

func one(t *testing.T, y string) Document {
	t.Helper()
	docs, err := Decode([]byte(y), Limits{})
	if err != nil || len(docs) != 1 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	return docs[0]
}

func TestDecode(t *testing.T) {
	docs, err := Decode([]byte(goodPod+"---\n"+goodPolicy+"---\n# nothing\n"), Limits{})
	if err != nil || len(docs) != 2 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	if p, ok := docs[0].Object.(*corev1.Pod); !ok || p.Spec.NodeName != "node-a" || p.UID == "" {
		t.Errorf("pod %+v, %v", docs[0].Object, docs[0].Err)
	}
	a, ok := docs[1].Object.(*security.AuthorizationPolicy)
	if !ok || a.Spec.Rules[0].To[0].Operation.Paths[0] != "/api/*" || docs[1].Number != 2 {
		t.Errorf("policy %+v, %v", docs[1].Object, docs[1].Err)
	}
}

// TestRefusalsNameTheField: each bad document is refused with the path of what is wrong.
func TestRefusalsNameTheField(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"not YAML":              {"a: [", "not YAML"},
		"not an object":         {"- 1\n", "not an object"},
		"duplicate key":         {"kind: Pod\nkind: Pod\n", "already set"},
		"unknown kind":          {"apiVersion: v1\nkind: Gadget\nmetadata: {name: a}\n", `kind "Gadget"`},
		"old version":           {strings.Replace(goodPolicy, "io/v1\n", "io/v1alpha1\n", 1), "security.istio.io/v1alpha1"},
		"unknown pod field":     {strings.Replace(goodPod, "nodeName", "nodename", 1), `spec.nodename`},
		"unknown policy field":  {strings.Replace(goodPolicy, "methods", "method", 1), "spec.rules[0].to[0].operation.method: unknown field"},
		"policy field's shape":  {strings.Replace(goodPolicy, "[GET]", "GET", 1), "spec.rules[0].to[0].operation.methods: want a list, got a string"},
		"policy element":        {strings.Replace(goodPolicy, "[GET]", "[1]", 1), "spec.rules[0].to[0].operation.methods[0]: want a string, got a number"},
		"unknown enum":          {strings.Replace(goodPolicy, "spec:\n", "spec:\n  action: PERMIT\n", 1), `spec.action: unknown value "PERMIT"`},
		"bad name":              {strings.Replace(goodPod, "name: web", "name: We/b", 1), "metadata.name"},
		"bad namespace":         {strings.Replace(goodPod, "namespace: shop", "namespace: a.b", 1), "metadata.namespace"},
		"namespace of a node":   {"apiVersion: v1\nkind: Node\nmetadata: {name: a, namespace: b}\n", "metadata.namespace: a Node has none"},
		"metadata of no object": {"apiVersion: v1\nkind: Pod\nmetadata: 1\n", "not an object"},
	} {
		t.Run(name, func(t *testing.T) {
			d := one(t, c.yaml)
			if d.Err == nil || !strings.Contains(d.Err.Error(), c.want) || d.Object != nil {
				t.Errorf("%v, want %q", d.Err, c.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	l := Limits{FileSize: 4096, Documents: 2, Document: 512}
	for name, c := range map[string]struct {
		yaml string
		want error
	}{
		"file": {strings.Repeat("#", 5000), errTooLarge}, "documents": {strings.Repeat("---\na: 1\n", 3), errTooMany},
		"items": {"apiVersion: v1\nkind: List\nitems: [{}, {}, {}]\n", errTooMany},
	} {
		if _, err := Decode([]byte(c.yaml), l); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	docs, err := Decode([]byte(goodPod+"---\nx: "+strings.Repeat("y", 600)), l)
	if err != nil || docs[0].Err != nil || !errors.Is(docs[1].Err, errTooLarge) {
		t.Errorf("%+v, %v: a large document costs only itself", docs, err)
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]\n"
	if docs, err := Decode([]byte(bomb), l); err != nil || docs[0].Err == nil {
		t.Errorf("aliases: %+v, %v", docs, err)
	}
}

// TestStandInsAreClosed: a policy that cannot be read still restricts what it selects.
func TestStandInsAreClosed(t *testing.T) {
	for name, c := range map[string]struct {
		yaml, action string
		selects      string
	}{
		"allow":               {strings.Replace(goodPolicy, "methods", "method", 1), "ALLOW", "payments"},
		"deny":                {strings.Replace(goodPolicy, "spec:\n", "spec:\n  action: DENY\n  wrong: 1\n", 1), "DENY", "payments"},
		"unknown action":      {strings.Replace(goodPolicy, "spec:\n", "spec:\n  action: PERMIT\n", 1), "DENY", "payments"},
		"unreadable selector": {strings.Replace(goodPolicy, "matchLabels: {app: payments}", "matchLabel: {}", 1), "ALLOW", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, ok := one(t, c.yaml).StandIn.(*security.AuthorizationPolicy)
			if !ok || a.Annotations[UnreadableAnnotation] == "" || a.Spec.Action.String() != c.action ||
				a.Spec.Selector.GetMatchLabels()["app"] != c.selects || len(a.Spec.Rules) != 0 {
				t.Errorf("stand-in %+v", a)
			}
		})
	}
	d := one(t, "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: d, namespace: shop}\nspec: {mtls: {mode: STRCT}}\n")
	if p, ok := d.StandIn.(*security.PeerAuthentication); !ok || p.Spec.Mtls.Mode.String() != "STRICT" {
		t.Errorf("peer authentication's stand-in: %+v", d.StandIn)
	}
	if d := one(t, strings.Replace(goodPod, "nodeName", "nodename", 1)); d.StandIn != nil {
		t.Errorf("a pod has no closed reading: %+v", d.StandIn)
	}
}

// FuzzDecode: whatever a file holds, each document is an object or a refusal with words.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{goodPod, goodPolicy, goodPod + "---\n" + goodPolicy, "a: &a [*a]", "--- \n---", "\xef\xbb\xbf" + goodPod,
		"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: n}}\n", "kind: [", "{\"kind\": \"Pod\"}",
		"apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec: {host: a, trafficPolicy: {outlierDetection: {interval: 10s}}}\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		docs, err := Decode(b, Limits{FileSize: 1 << 16, Documents: 50, Document: 1 << 14})
		if err != nil && len(docs) > 0 {
			t.Error("a file that was refused gave documents")
		}
		for _, d := range docs {
			switch {
			case (d.Object == nil) == (d.Err == nil):
				t.Errorf("object %v, error %v", d.Object, d.Err)
			case d.Err != nil && d.Err.Error() == "":
				t.Error("a refusal without words")
			case d.Object != nil && (d.Object.GetName() == "" || d.Object.GetUID() == ""):
				t.Errorf("%+v has no name or uid", d.Object)
			}
		}
	})
}
