package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// upgrade puts another version into the place of the one that is installed, as the pages say, while a client
// connects all the time and a stranger tries to. A connection that is open before lives for length: for 30 s at
// most it is served by proxies that were told to end, and the next node's turn comes when they have.
func upgrade(t *testing.T, ns, outside string, to release, length time.Duration) {
	t.Helper()
	from, before := installed(t), uids(t)
	former(t, from)
	if err := to.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	load, hold := begin(t, ns, "client", "load", "server:9090", long), begin(t, ns, "client", "hold", "server:9090", length.String())
	noAnswer := never(t, outside, "stranger", "http://server."+ns+"/")
	time.Sleep(time.Second)
	began := time.Now()
	if err := errors.Join(to.apply(t.Context()), ready(t.Context())); err != nil {
		t.Error(err)
	}
	t.Logf("from %s to %s in %.1f s", from, to.tag, time.Since(began).Seconds())
	noAnswer()
	hold.stop(t)
	load.stop(t)
	tells(t, to)
	for uid, pod := range uids(t) {
		if before[uid] != "" {
			t.Errorf("pod %s was not replaced", pod)
		}
	}
	noLonger(t, to.tag)
}

// former is an object that the version had and newer files do not name.
func former(t *testing.T, version string) {
	t.Helper()
	applyYAML(t, fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: ambit-former, labels: {app.kubernetes.io/part-of: ambit, app.kubernetes.io/version: %s}}, rules: []}`, version))
}

// noLonger: the check names what is left of the version before, and how to remove it; then nothing is left.
func noLonger(t *testing.T, version string) {
	t.Helper()
	hint := regexp.MustCompile(`if the manifests of ` + regexp.QuoteMeta(version) + ` do not name it: kubectl (delete .*)`)
	left := func() [][]string {
		out, err := ambit(t, "check", "--kube")
		if err != nil {
			t.Errorf("check after an upgrade: %v\n%s", err, out)
		}
		return hint.FindAllStringSubmatch(out, -1)
	}
	found := left()
	if len(found) != 1 || !strings.Contains(found[0][1], "ambit-former") {
		t.Fatalf("ambit check finds as left behind: %q", found)
	}
	kubectl(t, strings.Fields(found[0][1])...)
	if found := left(); len(found) > 0 {
		t.Errorf("ambit check still finds %q", found)
	}
}

// tells waits until every part on every node says its version.
func tells(t *testing.T, r release) {
	t.Helper()
	awaitThat(t, 30*time.Second, "all parts say "+r.version, func() error {
		out, err := ambit(t, "status", "--kube", "-o", "json")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		var s struct {
			Nodes []struct {
				Node, Ztunnel string
				Agent         struct{ Version string }
			}
			Controller struct{ Version string }
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return err
		}
		said, want := []string{s.Controller.Version}, []string{r.version}
		for _, n := range s.Nodes {
			said, want = append(said, n.Agent.Version, n.Ztunnel), append(want, r.tag, r.version)
		}
		if len(s.Nodes) != len(c.Nodes) || !slices.Equal(said, want) {
			return fmt.Errorf("controller, and agent and proxy of each node: %q, not %q", said, want)
		}
		return nil
	})
}

// uids are the mesh's own pods, without those that end.
func uids(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	all := kubectl(t, "-n", "ambit-system", "get", "pods", "-o", `jsonpath={range .items[*]}{.metadata.uid} {.metadata.name} {.metadata.deletionTimestamp}{"\n"}{end}`)
	for line := range strings.Lines(all) {
		if f := strings.Fields(line); len(f) == 2 {
			out[f[0]] = f[1]
		}
	}
	return out
}

// TestAppliedTwice: right after an install, too.
func TestAppliedTwice(t *testing.T) {
	if err := install(t.Context()); err != nil {
		t.Fatal(err)
	}
	sameAgain(t, ours)
}

// sameAgain: files that were applied already change nothing. The API server itself finds no difference, and no
// object is written; of the kinds whose status moves by itself the generation tells.
func sameAgain(t *testing.T, r release) {
	t.Helper()
	if out, err := c.Kubectl(t.Context(), "diff", "--server-side", "-f", r.files); err != nil || out != "" {
		t.Errorf("kubectl diff of what is installed: %v\n%s", err, tail(out, 3000))
	}
	versions := func() string {
		all := kubectl(t, "get", "-f", r.files, "-o", `jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.metadata.generation} {.metadata.resourceVersion}{"\n"}{end}`)
		moving := regexp.MustCompile(`(?m)^((?:Deployment|DaemonSet|PodDisruptionBudget)/.*) \d+$`)
		return moving.ReplaceAllString(all, "$1")
	}
	before := versions()
	if n := strings.Count(before, "\n"); n < 30 {
		t.Errorf("only %d objects are compared:\n%s", n, before)
	}
	if err := r.apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := versions(); after != before {
		t.Errorf("applied again, it changed:\n%s\n%s", before, after)
	}
}

// TestUpgradeAndBack: to go back is to apply the older files.
func TestUpgradeAndBack(t *testing.T) {
	if err := install(t.Context()); err != nil { // a test before may have left another version
		t.Fatal(err)
	}
	made := another(t, "v0.2.0-test")
	ns, outside := pair(t), namespace(t, false)
	start(t, pod{namespace: outside, name: "stranger", node: nodeA})
	older := release{tag: installed(t), version: controllerVersion(t), images: ours.images, files: ours.files}
	t.Cleanup(func() {
		if err := install(context.Background()); err != nil {
			t.Error(err)
		}
	})
	upgrade(t, ns, outside, made(t), 30*time.Second)
	upgrade(t, ns, outside, older, 30*time.Second)
	sameAgain(t, older)
}

// controllerVersion is what the controller says of itself.
func controllerVersion(t *testing.T) string {
	t.Helper()
	var s struct{ Controller struct{ Version string } }
	out, err := ambit(t, "status", "--kube", "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	if err != nil || s.Controller.Version == "" {
		t.Fatalf("version of the controller: %v\n%s", err, out)
	}
	return s.Controller.Version
}
