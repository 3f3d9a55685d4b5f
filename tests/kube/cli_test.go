package kube

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestCommandLine asks a cluster through the API server's port-forward, as its users do.
func TestCommandLine(t *testing.T) {
	ns := pair(t)
	outside := namespace(t, false)
	start(t, pod{namespace: outside, name: "stranger", node: nodeA})
	if out, err := ambit(t, "--help"); err != nil { // built before the connection is there, which does not stay for long
		t.Fatalf("ambit: %v: %s", err, out)
	}
	held := make(chan error, 1)
	go func() {
		_, err := work(t, ns, "client", "hold", "server:9090", "30s")
		held <- err
	}()
	says := func(what string, words []string, args ...string) {
		t.Helper()
		awaitThat(t, 20*time.Second, what, func() error {
			told, err := ambit(t, append(args, "--kube")...)
			if err == nil && lineWith(told, words...) == "" {
				err = fmt.Errorf("no line with %q in\n%s", words, told)
			}
			return err
		})
	}
	says("the connection that is open", []string{ns + "/client", ns + "/server", "9090"}, "connections", "--pod", ns+"/client")
	says("the pods that are enrolled", []string{ns + "/client"}, "status")
	says("what becomes of a call", []string{"allowed"}, "explain", ns+"/client", ns+"/server", "80")

	told, err := ambit(t, "explain", outside+"/stranger", ns+"/server", "80", "--kube")
	if err == nil || !strings.Contains(told, "mtls_required") {
		t.Errorf("a stranger's call under STRICT is explained by: %v\n%s", err, told)
	}
	told, err = ambit(t, "dump", "--kube")
	if err != nil || !json.Valid([]byte(told)) || !strings.Contains(told, ns+"/server") || strings.Contains(told, "PRIVATE KEY") {
		t.Errorf("dump: %v\n%s", err, tail(told, 2000))
	}
	if told, err := ambit(t, "check", "--kube"); err != nil {
		t.Errorf("check of a mesh that is whole: %v\n%s", err, told)
	}
	preflight(t)
	if err := <-held; err != nil {
		t.Errorf("the connection that was open: %v", err)
	}
}

// preflight: on a node the check looks at its kernel, line by line, and finds all that redirection needs.
func preflight(t *testing.T) {
	t.Helper()
	for _, n := range c.Nodes {
		told, err := n.Run(t.Context(), c.Dir+"/ambit", "check", "--node")
		if err != nil {
			t.Errorf("check of node %s: %v", n.Name, err)
		}
		for _, feature := range []string{"kernel", "connect hooks", "sk_lookup", "netns cookie in sockops", "sysctl net.ipv4.tcp_fwmark_accept"} {
			if lineWith(told, "ok", feature) == "" {
				t.Errorf("check of node %s has no good line of %s:\n%s", n.Name, feature, told)
			}
		}
	}
	told, err := c.Node(nodeA).Run(t.Context(), "setpriv", "--bounding-set=-bpf,-sys_admin", c.Dir+"/ambit", "check", "--node")
	if line := lineWith(told, "FAIL", "privileges"); err == nil || !strings.Contains(line, "redirection cannot work on this node") {
		t.Errorf("who lacks a privilege is not told so, with a hint: %v\n%s", err, told)
	}
}
