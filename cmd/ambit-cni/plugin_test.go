package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	agentcni "github.com/ambitmesh/ambit/agent/cni"
	"github.com/ambitmesh/ambit/internal/cni"
)

const prevResult = `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"interface":0,"address":"10.91.1.7/24"},{"address":"fd00::7/64"}],"dns":{}}`

// fakeMesh answers as the agent would.
type fakeMesh struct {
	mu   sync.Mutex
	told []string
	err  error
	wait chan struct{} // nil: answer at once
	left time.Duration // that the last ADD gave
}

func (m *fakeMesh) note(what string, s agentcni.Sandbox, ns *os.File) error {
	m.mu.Lock()
	m.told = append(m.told, fmt.Sprintf("%s %s/%s %s %s %v ns=%v", what, s.Namespace, s.Name, s.UID, s.Container, s.Addresses, ns != nil))
	wait, err := m.wait, m.err
	m.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return err
}

func (m *fakeMesh) Add(ctx context.Context, s agentcni.Sandbox, ns *os.File) error {
	defer ns.Close()
	if at, ok := ctx.Deadline(); ok {
		m.mu.Lock()
		m.left = time.Until(at)
		m.mu.Unlock()
	}
	return m.note("add", s, ns)
}

func (m *fakeMesh) Del(_ context.Context, s agentcni.Sandbox, ns *os.File) error {
	return m.note("del", s, ns)
}

func (m *fakeMesh) Check(_ context.Context, s agentcni.Sandbox) error { return m.note("check", s, nil) }

func (m *fakeMesh) Keep(ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, fmt.Sprintf("gc %v", ids))
}

func (m *fakeMesh) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.told...)
}

// node is the plugin's surroundings.
type node struct {
	*testing.T
	dir, saved string
	mesh       *fakeMesh
	hold       time.Duration
	env        map[string]string
}

func newNode(t *testing.T, listed ...string) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{T: t, dir: filepath.Join(dir, "cni"), saved: filepath.Join(dir, "saved"), mesh: &fakeMesh{}, hold: cni.HoldTime}
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if listed != nil {
		if err := cni.WriteList(filepath.Join(n.dir, cni.ListName), listed); err != nil {
			t.Fatal(err)
		}
	}
	n.env = map[string]string{
		"CNI_CONTAINERID": "c1", "CNI_NETNS": fmt.Sprintf("/proc/%d/ns/net", os.Getpid()), "CNI_IFNAME": "eth0",
		"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1",
	}
	return n
}

// serve starts the agent's half.
func (n *node) serve() {
	n.Helper()
	s, err := agentcni.NewServer(n.mesh, slog.New(slog.DiscardHandler), time.Now, prometheus.NewRegistry())
	if err != nil {
		n.Fatal(err)
	}
	ctx, cancel := context.WithCancel(n.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx, n.dir); err != nil {
			n.Error(err)
		}
	})
	n.Cleanup(func() { cancel(); wg.Wait() })
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if c, err := net.Dial("unix", filepath.Join(n.dir, cni.SocketName)); err == nil {
			c.Close()
			return
		} else if time.Now().After(end) {
			n.Fatal(err)
		}
	}
}

// run calls the plugin.
func (n *node) run(command, prev string) (string, error) {
	n.Helper()
	conf := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"lab","type":"ambit-cni","dir":%q,"savedList":%q,"prevResult":%s,"cni.dev/valid-attachments":[{"containerID":"c9","ifname":"eth0"}]}`, n.dir, n.saved, prev)
	n.env["CNI_COMMAND"] = command
	c := call{env: func(k string) string { return n.env[k] }, hold: n.hold}
	out, err := c.do(n.Context(), strings.NewReader(conf))
	return string(out), err
}

func TestAddHoldsListedNamespaces(t *testing.T) {
	n := newNode(t, "shop")
	n.mesh.wait = make(chan struct{})
	n.serve()
	done := make(chan error, 1)
	var out string
	go func() {
		var err error
		out, err = n.run("ADD", prevResult)
		done <- err
	}()
	for end := time.Now().Add(time.Minute); len(n.mesh.all()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the agent was never asked")
		}
	}
	select {
	case err := <-done:
		t.Fatalf("not held: %q, %v", out, err)
	case <-time.After(50 * time.Millisecond):
	}
	close(n.mesh.wait)
	if err := <-done; err != nil || out != prevResult {
		t.Errorf("%q, %v", out, err)
	}
	if got := n.mesh.all(); len(got) != 1 || got[0] != "add shop/a u1 c1 [10.91.1.7 fd00::7] ns=true" {
		t.Errorf("told %q", got)
	}
}

// TestHoldTime: who waits is told the reason, not cut off. The kubelet gives a sandbox two minutes
// (runtimeRequestTimeout), in which the plugins before make the network and this one takes it down again.
func TestHoldTime(t *testing.T) {
	const kubelet = 2 * time.Minute
	if cni.HoldTime != time.Minute || cni.HoldTime > kubelet-30*time.Second {
		t.Errorf("a pod is held for %v, not 60 s, of the kubelet's %v", cni.HoldTime, kubelet)
	}
	n := newNode(t, "shop")
	n.serve()
	if _, err := n.run("ADD", prevResult); err != nil {
		t.Fatal(err)
	}
	if n.mesh.left <= 0 || n.mesh.left >= cni.HoldTime {
		t.Errorf("the agent has %v to say why, the plugin gives up after %v", n.mesh.left, cni.HoldTime)
	}
}

func TestAddSaysWhyNot(t *testing.T) {
	n := newNode(t, "shop")
	n.mesh.err = errors.New("no node proxy is connected")
	n.serve()
	n.env["CNI_COMMAND"] = "ADD"
	var out bytes.Buffer
	code := run(t.Context(), func(k string) string { return n.env[k] }, strings.NewReader(
		fmt.Sprintf(`{"cniVersion":"0.4.0","dir":%q,"prevResult":%s}`, n.dir, prevResult)), &out)
	var e struct {
		Version string `json:"cniVersion"`
		Code    int
		Msg     string
	}
	if err := json.Unmarshal(out.Bytes(), &e); err != nil || code != 1 || e.Code != codeAgain || e.Version != "0.4.0" || !strings.Contains(e.Msg, "shop/a is not in the mesh yet: no node proxy") {
		t.Errorf("status %d: %s", code, &out)
	}
}

// TestNeverHeld: without any agent.
func TestNeverHeld(t *testing.T) {
	for name, args := range map[string]string{
		"another namespace": "K8S_POD_NAMESPACE=other;K8S_POD_NAME=a;K8S_POD_UID=u1",
		"kube-system":       "K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=coredns;K8S_POD_UID=u1",
		"ambit-system":      "K8S_POD_NAMESPACE=ambit-system;K8S_POD_NAME=ambit-ztunnel;K8S_POD_UID=u1",
		"not Kubernetes":    "",
	} {
		n := newNode(t, "shop", "kube-system", "ambit-system")
		n.env["CNI_ARGS"] = args
		if out, err := n.run("ADD", prevResult); err != nil || out != prevResult {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	if out, err := newNode(t).run("ADD", prevResult); err != nil || out != prevResult {
		t.Errorf("no list: %q, %v", out, err)
	}
}

// TestNodeRestarted: the list below /run is gone, its copy is not.
func TestNodeRestarted(t *testing.T) {
	n := newNode(t)
	n.hold = 100 * time.Millisecond
	if err := cni.WriteList(n.saved, []string{"shop"}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.run("ADD", prevResult); err == nil || !strings.Contains(err.Error(), "the agent did not answer") {
		t.Errorf("without an agent: %v", err)
	}
	n.hold = cni.HoldTime
	done := make(chan error, 1)
	go func() { _, err := n.run("ADD", prevResult); done <- err }()
	time.Sleep(20 * time.Millisecond)
	n.serve() // the agent comes up while the pod waits
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOtherCommands(t *testing.T) {
	n := newNode(t, "shop")
	for _, command := range []string{"DEL", "CHECK", "GC", "STATUS"} { // without an agent
		if out, err := n.run(command, prevResult); err != nil || out != "" {
			t.Errorf("%s: %q, %v", command, out, err)
		}
	}
	n.serve()
	n.env["CNI_NETNS"] = "/proc/0/ns/net"
	for _, command := range []string{"DEL", "CHECK", "GC"} {
		if out, err := n.run(command, "null"); err != nil || out != "" {
			t.Errorf("%s: %q, %v", command, out, err)
		}
	}
	want := "del shop/a u1 c1 [] ns=false;check shop/a u1 c1 [] ns=false;gc [c9]"
	if got := strings.Join(n.mesh.all(), ";"); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	n.mesh.err = errors.New("not captured")
	if _, err := n.run("CHECK", prevResult); err == nil || !strings.Contains(err.Error(), "not captured") {
		t.Errorf("CHECK: %v", err)
	}
	if _, err := n.run("DEL", prevResult); err != nil {
		t.Errorf("DEL must not fail: %v", err)
	}
	out, err := n.run("VERSION", "null")
	if err != nil || !strings.Contains(out, `"supportedVersions":["0.3.0"`) || !strings.Contains(out, `"cniVersion":"1.0.0"`) {
		t.Errorf("VERSION: %s, %v", out, err)
	}
}

func TestBadCalls(t *testing.T) {
	for name, c := range map[string]struct {
		command, stdin string
		code           int
	}{
		"no command":  {"", "{}", codeEnv},
		"no JSON":     {"ADD", "{", codeDecode},
		"first":       {"ADD", `{"cniVersion":"1.0.0"}`, codeConfig},
		"bad result":  {"ADD", `{"prevResult":[]}`, codeDecode},
		"bad address": {"ADD", `{"prevResult":{"ips":[{"address":"x"}]}}`, codeDecode},
		"too long":    {"ADD", strings.Repeat(" ", maxInput+2), codeIO},
	} {
		var out bytes.Buffer
		status := run(t.Context(), func(k string) string { return map[string]string{"CNI_COMMAND": c.command}[k] }, strings.NewReader(c.stdin), &out)
		var e struct{ Code int }
		if err := json.Unmarshal(out.Bytes(), &e); err != nil || status != 1 || e.Code != c.code {
			t.Errorf("%s: status %d, %s", name, status, &out)
		}
	}
}

func FuzzInput(f *testing.F) {
	f.Add("ADD", `{"cniVersion":"1.0.0","dir":"","prevResult":`+prevResult+`}`, "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=a")
	f.Add("VERSION", `{"cniVersion":"1.0.0"}`, "")
	f.Add("GC", `{"cni.dev/valid-attachments":[{"containerID":"x"}]}`, ";;=;=")
	f.Fuzz(func(t *testing.T, command, stdin, args string) {
		var in input
		if json.Unmarshal([]byte(stdin), &in) != nil || in.Dir != "" || in.SavedList != "" {
			in.Dir = "" // never a path of the fuzzer's own
			stdin = "{}"
		}
		env := map[string]string{"CNI_COMMAND": command, "CNI_ARGS": args}
		var out bytes.Buffer
		if code := run(t.Context(), func(k string) string { return env[k] }, strings.NewReader(stdin), &out); code != 0 && !json.Valid(out.Bytes()) {
			t.Errorf("status %d, %q", code, &out)
		}
	})
}
