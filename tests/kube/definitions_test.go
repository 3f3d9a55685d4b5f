package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster"
)

const crds = "../../manifests/crds.yaml"

// TestDefinitionsOfOthers applies crds.yaml where definitions are newer, and where Istio's own is there:
// they stay, and kubectl says so.
func TestDefinitionsOfOthers(t *testing.T) {
	const (
		bundle = "gateway.networking.k8s.io/bundle-version"
		source = "ambit.dev/crd-source"
		rules  = "destinationrules.networking.istio.io"
		peers  = "peerauthentications.security.istio.io"
	)
	t.Cleanup(func() { restoreDefinitions(t) })
	// What a newer Ambit and Istio would have applied.
	kubectl(t, "apply", "--server-side", "-f", editedCRDs(t, map[string]edit{
		"httproutes.gateway.networking.k8s.io": {bundle, bundle + ": v99.0.0"},
		rules:                                  {source, source + ": istio.io/api v98.0.0"},
		peers:                                  {source, ""},
	}))

	out, err := c.Kubectl(t.Context(), "apply", "--server-side", "-f", crds)
	told := fmt.Sprint(out, err)
	if err == nil || !strings.Contains(told, "newer one, v99.0.0") || !strings.Contains(told, "newer one, v98.0.0") || !strings.Contains(told, "Istio's own") {
		t.Errorf("kubectl does not say that all three are left: %s", told)
	}
	for name, want := range map[string]string{
		`httproutes.gateway.networking.k8s.io gateway\.networking\.k8s\.io/bundle-version`: "v99.0.0",
		rules + ` ambit\.dev/crd-source`: "istio.io/api v98.0.0",
		peers + ` ambit\.dev/crd-source`: "",
	} {
		name, annotation, _ := strings.Cut(name, " ")
		if now := kubectl(t, "get", "crd", name, "-o", "jsonpath={.metadata.annotations."+annotation+"}"); now != want {
			t.Errorf("definition %s was replaced: %s is %q, was %q", name, annotation, now, want)
		}
	}
	told, err = ambit(t, "check", "--kube")
	if err != nil || !strings.Contains(told, "installed by somebody else: "+peers) || !strings.Contains(told, "newer: "+rules+" v98.0.0") {
		t.Errorf("ambit check: %v\n%s", err, told)
	}
}

// edit replaces the line of an annotation.
type edit struct{ annotation, line string }

// editedCRDs writes the named definitions of crds.yaml, edited, and returns the file.
func editedCRDs(t *testing.T, edits map[string]edit) string {
	t.Helper()
	all, err := os.ReadFile(crds)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for doc := range strings.SplitSeq(string(all), "\n---\n") {
		for name, e := range edits {
			if !strings.Contains(doc, "\n  name: "+name+"\n") {
				continue
			}
			before, rest, ok := strings.Cut(doc, "    "+e.annotation+": ")
			_, after, more := strings.Cut(rest, "\n")
			if !ok || !more {
				t.Fatalf("definition %s has no annotation %s", name, e.annotation)
			}
			if e.line != "" {
				e.line = "    " + e.line + "\n"
			}
			out = append(out, before+e.line+after)
		}
	}
	if len(out) != len(edits) {
		t.Fatalf("%d definitions edited of %d", len(out), len(edits))
	}
	file := filepath.Join(t.TempDir(), "crds.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(out, "\n---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// restoreDefinitions takes the fence away, applies crds.yaml and builds the fence again.
func restoreDefinitions(t *testing.T) {
	ctx := context.Background()
	if _, err := c.Kubectl(ctx, "delete", "validatingadmissionpolicybinding", "ambit-keep-crds"); err != nil {
		t.Error(err)
	}
	err := cluster.Await(ctx, 20*time.Second, "end of the fence", func() error {
		_, err := c.Kubectl(ctx, "apply", "--server-side", "-f", crds)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := ours.apply(ctx); err != nil {
		t.Error(err)
	}
}
