package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ambitmesh/ambit/internal/objects"
)

const base = "../base"

func TestAmbitYAMLIsWhatTheBaseGives(t *testing.T) {
	want, err := ambitYAML(base, "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../ambit.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("manifests/ambit.yaml is not what manifests/base gives: run make manifests")
	}
}

func TestAnotherTag(t *testing.T) {
	text, err := ambitYAML(base, "v9")
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"ambit.dev/ambit-agent:v9\n", "ambit.dev/ambit-ztunnel:v9\n", "ambit.dev/ambit-controller:v9\n"} {
		if strings.Count(text, "image: "+image) != 1 {
			t.Errorf("not once: %q", image)
		}
	}
	if n := strings.Count(text, "\n    app.kubernetes.io/version: v9\n"); n != len(documents(text)) {
		t.Errorf("the version stands %d times in %d objects", n, len(documents(text)))
	}
}

// Each edit breaks one rule of a text that keeps them all.
func TestChecksRefuse(t *testing.T) {
	good, err := ambitYAML(base, "v9")
	if err != nil {
		t.Fatal(err)
	}
	const v = "v9"
	for _, c := range []struct{ from, to, want string }{
		{"  replicas: 2\n", "  replica: 2\n", "unknown field"},
		{"  namespace: ambit-system\n", "  namespace: default\n", "namespace default"},
		{"    app.kubernetes.io/part-of: ambit\n", "", "part-of"},
		{"    app.kubernetes.io/version: " + v + "\n", "", "version"},
		{"    verbs: [patch]\n", "    verbs: [\"*\"]\n", "wildcard"},
		{"    verbs: [patch]\n", "    verbs: [impersonate]\n", "impersonate"},
		{"    resources: [pods/status]\n", "    resources: [secrets]\n", "secrets of every namespace"},
		{"        istio.io/dataplane-mode: none\n", "", "enrolled"},
		{"privileged: false\n", "privileged: true\n", "privileged"},
		{"              drop: [ALL]\n", "", "default capabilities"},
		{"              protocol: TCP\n", "", "no-op"},
		{"            readOnlyRootFilesystem: true\n", "", "write to its image"},
		{"              memory: 64Mi\n", "", "requests"},
		{"kind: Namespace\n", "kind: Secret\n", "state of the mesh"},
		{"kind: ClusterRole\nmetadata:\n  name: ambit-controller\n", "kind: ClusterRole\nmetadata:\n  name: ambit-agent\n", "twice"},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		if bad == good {
			t.Errorf("%q is not in the manifests", c.from)
		}
		if err := check(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q -> %q: %v, want %q", c.from, c.to, err, c.want)
		}
	}
}

func TestPrivilegesNeedReasons(t *testing.T) {
	for text, want := range map[string]string{
		"  # why\n  hostPID: true\n":                         "",
		"  dnsPolicy: Default\n\n  hostPID: true\n":          "hostPID",
		"securityContext:\n  # why\n  runAsUser: 0\n":        "",
		"x: y\nsecurityContext:\n  runAsUser: 0\n":           "runAsUser: 0",
		"x: y\nsecurityContext:\n  runAsUser: 0 # some\n":    "runAsUser: 0",
		"x: y\nsecurityContext:\n  runAsUser: 65532\n":       "",
		"add:\n  - NET_ADMIN # marks sockets\n":              "",
		"add:\n  - NET_ADMIN\n":                              "NET_ADMIN",
		"# all of it\n- name: cgroup\n  hostPath:\n":         "",
		"volumes:\n\n- name: cgroup\n  hostPath:\n    path:": "cgroup",
	} {
		err := checkReasons(text)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestImagesThatKustomizeDoesNotKnow(t *testing.T) {
	if _, err := tagImages("    image: somebody/else\n", nil, ""); err == nil {
		t.Error("no error")
	}
}

func TestCRDsAreThoseThatTheirModulesCarry(t *testing.T) {
	want, err := crdsYAML(t.Context())
	if err != nil {
		t.Skipf("no modules: %v", err)
	}
	got, err := os.ReadFile("../crds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("manifests/crds.yaml is not what its modules give: run make manifests")
	}
	docs := documents(want)
	for _, doc := range docs {
		if kindOf(doc) != "CustomResourceDefinition" || strings.Count(doc, sourceKey) != 1 {
			t.Errorf("%s %s: not a definition with its source", kindOf(doc), nameOf(doc))
		}
	}
	if len(docs) != len(istioKinds)+10 {
		t.Errorf("%d definitions", len(docs))
	}
}

func TestAnnotate(t *testing.T) {
	m := module{path: "example.com/m", version: "v1"}
	for in, want := range map[string]string{
		"kind: X\nmetadata:\n  name: a\n":                         "kind: X\nmetadata:\n  annotations:\n    ambit.dev/crd-source: example.com/m v1\n  name: a\n",
		"metadata:\n  annotations:\n    b: c\n  name: a\nspec: 1": "metadata:\n  annotations:\n    ambit.dev/crd-source: example.com/m v1\n    b: c\n  name: a\nspec: 1\n",
	} {
		if got, err := annotate(in, m); err != nil || got != want {
			t.Errorf("annotate(%q) = %q, %v", in, got, err)
		}
	}
	if _, err := annotate("kind: X\n", m); err == nil {
		t.Error("no metadata is no error")
	}
}

// What the controller reads must be defined, and nothing else of Istio's is ours to define.
func TestTheKindsOfIstioAreThoseThatAreRead(t *testing.T) {
	builtin := []objects.Kind{objects.Namespace, objects.Node, objects.Pod, objects.Service, objects.EndpointSlice, objects.ServiceAccount}
	read := 0
	for _, k := range objects.Kinds() {
		if slices.Contains(builtin, k) {
			continue
		}
		read++
		if !slices.ContainsFunc(istioKinds, func(name string) bool {
			return strings.HasPrefix(name, strings.TrimSuffix(strings.ToLower(string(k)), "y"))
		}) {
			t.Errorf("%s is read and not defined", k)
		}
	}
	if read != len(istioKinds) {
		t.Errorf("%d kinds are read, %d defined", read, len(istioKinds))
	}
}
