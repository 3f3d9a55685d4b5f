package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/cni"
	"github.com/ambitmesh/ambit/agent/internal/stage"
	"github.com/ambitmesh/ambit/internal/objects"
)

func TestMain(m *testing.M) {
	stage.Main(map[string]func() error{"agent": agentMain})
	os.Exit(m.Run())
}

// setup is the part of an agent's configuration that tests choose.
type setup struct {
	Instance         string        `json:"instance"`
	BPFFS            string        `json:"bpffs"`
	CgroupRoot       string        `json:"cgroupRoot"`
	RunDir           string        `json:"runDir"`
	Objects          string        `json:"objects"`
	ProbeCgroup      string        `json:"probeCgroup"`
	ProxyAbsentAfter time.Duration `json:"proxyAbsentAfter"`
	UnusedAfter      time.Duration `json:"unusedAfter"`
	StrayAfter       time.Duration `json:"strayAfter"`
	LegLimit         uint32        `json:"legLimit"`
	HoldNew          bool          `json:"holdNew"`
	API              string        `json:"api"` // socket of an API server, instead of objects
}

const setupEnv = "AMBIT_STAGE_AGENT"

// agentMain is what cmd/ambit-agent does, in the test binary.
func agentMain() error {
	var s setup
	if err := json.Unmarshal([]byte(os.Getenv(setupEnv)), &s); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	src := objects.NewDirectory(s.Objects, objects.Options{Log: log, Settle: 10 * time.Millisecond})
	cfg := agent.Config{
		Node: "node", Instance: s.Instance, Version: "test", BPFFS: s.BPFFS, CgroupRoot: s.CgroupRoot, RunDir: s.RunDir,
		ProbeCgroup: s.ProbeCgroup, ProxyAbsentAfter: s.ProxyAbsentAfter, UnusedAfter: s.UnusedAfter, StrayAfter: s.StrayAfter, LegLimit: s.LegLimit, HoldNew: s.HoldNew,
		World: agent.NewWorld(src, "node"), Log: log, Registry: prometheus.NewRegistry(),
	}
	var world *agent.KubeWorld
	if s.API != "" {
		var err error
		if world, err = kubeWorld(s.API, log); err != nil {
			return err
		}
		cfg.World = world
	}
	a, err := agent.New(cfg)
	if err != nil {
		return err
	}
	defer a.Close()
	g, ctx := errgroup.WithContext(ctx)
	if world != nil {
		server, err := cni.NewServer(&agent.Plugin{Agent: a, World: world}, log, time.Now, prometheus.NewRegistry())
		if err != nil {
			return err
		}
		g.Go(func() error { return server.Run(ctx, filepath.Join(s.RunDir, "cni")) })
	}
	g.Go(func() error { return a.ServeAdmin(ctx) })
	g.Go(func() error { return a.Run(ctx) })
	return g.Wait()
}

// theater is a node with an agent.
type theater struct {
	*stage.Node
	t     *testing.T
	setup setup
	agent *stage.Process
}

// newTheater makes a node; start starts its agent.
func newTheater(t *testing.T) *theater {
	t.Helper()
	n := stage.NewNode(t)
	root := n.CgroupRoot
	if os.Getenv("AMBIT_STAGE_WHOLE") != "" { // hook the whole machine: a virtual one
		root = n.CgroupMount
	}
	return &theater{Node: n, t: t, setup: setup{
		Instance: "test", BPFFS: n.BPFFS, CgroupRoot: root, RunDir: n.RunDir, Objects: n.Objects,
		ProbeCgroup: n.Cgroup("kubelet"),
	}}
}

func (h *theater) start() {
	h.t.Helper()
	h.agent = h.Role("agent", "agent", setupEnv+"="+h.config())
	h.eventually("agent answers", func() error { _, err := h.status(); return err })
}

func (h *theater) config() string {
	h.t.Helper()
	b, err := json.Marshal(h.setup)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

func (h *theater) client() *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(h.setup.RunDir, "agent.sock"))
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 20 * time.Second}
}

func (h *theater) status() (s agent.Status, err error) {
	resp, err := h.client().Get("http://agent/status")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

func (h *theater) pod(name string) (agent.PodStatus, error) {
	s, err := h.status()
	if err != nil {
		return agent.PodStatus{}, err
	}
	for _, p := range s.Pods {
		if p.Name == name {
			return p, nil
		}
	}
	return agent.PodStatus{}, fmt.Errorf("no pod %s", name)
}

// count is one of the agent's counters.
func (h *theater) count(name string) uint64 {
	h.t.Helper()
	s, err := h.status()
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Counters[name]
}

// become waits until pods are in a state.
func (h *theater) become(want agent.Actual, names ...string) {
	h.t.Helper()
	for _, name := range names {
		h.eventually(fmt.Sprintf("pod %s is %s", name, want), func() error {
			p, err := h.pod(name)
			if err == nil && (p.Actual != want || want == agent.ActualEnrolled && p.Why != "" && p.Why != "namespace label" && p.Why != "pod label") {
				err = fmt.Errorf("it is %s: %s", p.Actual, p.Why)
			}
			return err
		})
	}
}

// eventually waits for something that must come; the limit only ends a failing test.
func (h *theater) eventually(what string, f func() error) {
	h.t.Helper()
	eventually(h.t, what, f)
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

const ambient = "istio.io/dataplane-mode: ambient"

// flows compares the numbers of attested flows with what the metrics say.
func (h *theater) flows(legs, probes int) error {
	m, err := h.metrics()
	if err != nil {
		return err
	}
	for kind, n := range map[string]int{"leg": legs, "probe": probes} {
		if line := fmt.Sprintf("ambit_attested_flows{kind=%q} %d\n", kind, n); !strings.Contains(m, line) {
			return fmt.Errorf("want %q in\n%s", line, m)
		}
	}
	return nil
}

func (h *theater) metrics() (string, error) {
	resp, err := h.client().Get("http://agent/metrics")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// flowsOf compares the number of attested flows of one kind.
func (h *theater) flowsOf(kind string, n int) error {
	m, err := h.metrics()
	if err != nil {
		return err
	}
	if line := fmt.Sprintf("ambit_attested_flows{kind=%q} %d\n", kind, n); !strings.Contains(m, line) {
		return fmt.Errorf("want %q in\n%s", line, m)
	}
	return nil
}
