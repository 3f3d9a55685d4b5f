package netns

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// Ports of the servers in every pod.
const (
	portBanner = 8080 + iota
	portEcho
	portSink
	portBulk
	portSlow
	portHTTP
	portMute
	portClosed // nobody listens
)

var servers = map[int]app.ListenArgs{
	portBanner: {Kind: app.Banner},
	portEcho:   {Kind: app.Echo},
	portSink:   {Kind: app.Sink},
	portBulk:   {Kind: app.BulkServer},
	portSlow:   {Kind: app.Slow, Rate: 1 << 20},
	portHTTP:   {Kind: app.HTTP},
	portMute:   {Kind: app.Mute},
}

// mesh is a lab with the helpers that tests need.
type mesh struct {
	*lab.Lab
	t *testing.T
}

// start builds a lab for a test and takes it down afterwards, with nothing left.
func start(t *testing.T, opts lab.Options) *mesh {
	t.Helper()
	if whyNot != nil {
		t.Skip(whyNot)
	}
	opts.Bin, opts.Engine = binaries, cmp.Or(opts.Engine, os.Getenv("AMBIT_ENGINE"))
	opts.SameNode = cmp.Or(opts.SameNode, os.Getenv("AMBIT_SAME_NODE"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	l, err := lab.New(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{l, t}
	t.Cleanup(m.end)
	return m
}

func (m *mesh) end() {
	m.findCrashes()
	if m.t.Failed() {
		m.keepLogs()
	}
	if err := m.Close(); err != nil {
		m.t.Error(err)
	}
	if left := lab.Leftovers(m.Name()); len(left) > 0 {
		m.t.Errorf("left behind: %q", left)
	}
}

// findCrashes fails the test if a program of the mesh panicked or raced, even if nobody noticed.
func (m *mesh) findCrashes() {
	logs, _ := filepath.Glob(filepath.Join(m.Dir(), "logs", "*.log")) // the pattern is good
	for _, f := range logs {
		b, err := os.ReadFile(f)
		if err != nil {
			m.t.Error(err)
			continue
		}
		for _, sign := range []string{"DATA RACE", "panic: ", "fatal error: "} {
			if i := bytes.Index(b, []byte(sign)); i >= 0 {
				m.t.Errorf("%s:\n%s", filepath.Base(f), b[i:min(len(b), i+4000)])
			}
		}
	}
}

// keepLogs shows the ends of the logs of a failed test, or keeps them whole where AMBIT_LOGS says.
func (m *mesh) keepLogs() {
	if dir := os.Getenv("AMBIT_LOGS"); dir != "" {
		to := filepath.Join(dir, strings.ReplaceAll(m.t.Name(), "/", "-"))
		if err := os.CopyFS(to, os.DirFS(filepath.Join(m.Dir(), "logs"))); err != nil {
			m.t.Log(err)
		}
		return
	}
	logs, _ := filepath.Glob(filepath.Join(m.Dir(), "logs", "*.log")) // the pattern is good
	for _, f := range logs {
		b, err := os.ReadFile(f)
		if err != nil || len(b) == 0 || strings.HasPrefix(filepath.Base(f), "app-") {
			continue
		}
		m.t.Logf("%s:\n%s", filepath.Base(f), b[max(0, len(b)-3000):])
	}
}

// ctx bounds one step of a test.
func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return c
}

// pod adds a pod "namespace/name" with the servers in it.
func (m *mesh) pod(t *testing.T, name, node string, change ...func(*lab.PodSpec)) *lab.Pod {
	t.Helper()
	namespace, short, _ := strings.Cut(name, "/")
	spec := lab.PodSpec{Namespace: namespace, Name: short, Node: node, ServiceAccount: short, Labels: map[string]string{"app": short}}
	for _, f := range change {
		f(&spec)
	}
	p, err := m.AddPod(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	a := program(t, p)
	for port, s := range servers {
		s.Port, s.Name = port, p.FullName()
		if _, err := a.Listen(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func program(t *testing.T, p *lab.Pod) *lab.App {
	t.Helper()
	a, err := p.App()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// enrol labels namespaces and waits for pods to be enrolled and known as such everywhere.
func (m *mesh) enrol(t *testing.T, namespace string, pods ...*lab.Pod) {
	t.Helper()
	must(t, m.Enrol(namespace, true))
	must(t, lab.WaitEnrolled(ctx(t), pods...))
	must(t, m.waitTunnels(ctx(t), pods...))
}

// waitTunnels waits until every node's ztunnel knows that the pods take tunnels.
func (m *mesh) waitTunnels(c context.Context, pods ...*lab.Pod) error {
	for _, p := range pods {
		for _, node := range []string{"node-a", "node-b"} {
			err := lab.Eventually(c, func(c context.Context) error {
				w, err := m.workload(c, node, p)
				if err == nil && w.Protocol != "HBONE" {
					err = fmt.Errorf("on %s workload %s has protocol %q, want HBONE", node, p.FullName(), w.Protocol)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// both runs a test for IPv4 and IPv6.
func both(t *testing.T, f func(t *testing.T, v6 bool)) {
	t.Run("v4", func(t *testing.T) { f(t, false) })
	t.Run("v6", func(t *testing.T) { f(t, true) })
}

// each runs a test for IPv4 and IPv6 towards every one of the pods.
func each(t *testing.T, pods []*lab.Pod, f func(t *testing.T, v6 bool, to *lab.Pod)) {
	for _, p := range pods {
		t.Run("to "+p.FullName(), func(t *testing.T) {
			both(t, func(t *testing.T, v6 bool) { f(t, v6, p) })
		})
	}
}

// eventually tries for some time.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	eventuallyWithin(t, time.Minute, f)
}

func eventuallyWithin(t *testing.T, limit time.Duration, f func() error) {
	t.Helper()
	c, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	must(t, lab.Eventually(c, func(context.Context) error { return f() }))
}

// active checks how many connections a listener has.
func active(t *testing.T, a *lab.App, id, want int) error {
	st, err := a.Stats(ctx(t), id)
	if err == nil && st.Active != want {
		err = fmt.Errorf("%d connections at the server, want %d", st.Active, want)
	}
	return err
}

// short is for what must come true soon, on a machine that is not slow.
func short(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return c
}

// logged is nil if a line of a node's access log has all parts.
func (m *mesh) logged(node string, parts ...string) error {
	b, err := os.ReadFile(m.AccessLog(node))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if all(parts, line) {
			return nil
		}
	}
	return fmt.Errorf("no line with %q in the access log of %s", parts, node)
}
