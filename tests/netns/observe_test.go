package netns

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestObserve checks that what is told of connections is true.
func TestObserve(t *testing.T) {
	s := newShop(t, lab.Options{})
	t.Run("a proxy at rest is small", s.small)
	t.Run("metrics", s.metrics)
	t.Run("access log", s.accessLog)
	t.Run("command line", s.commandLine)
	t.Run("keys stay in the proxy", s.keysStay)
}

// small checks the resident memory before any traffic but the tests' first calls.
func (s *shop) small(t *testing.T) {
	if os.Getenv("RACE") != "" {
		t.Skip("the race detector's memory counts too")
	}
	for _, n := range []string{"node-a", "node-b"} {
		kb := resident(t, s.Node(n).Ztunnel().PID())
		t.Logf("ztunnel of %s: %d KiB resident", n, kb)
		if kb > 25<<10 {
			t.Errorf("ztunnel of %s has %d KiB resident, more than 25 MiB", n, kb)
		}
	}
}

func resident(t *testing.T, pid int) (kb int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, after, ok := strings.Cut(string(b), "VmRSS:")
	if _, err := fmt.Sscan(after, &kb); !ok || err != nil {
		t.Fatalf("no VmRSS of process %d: %v", pid, err)
	}
	return kb
}

// metrics makes a known number of calls and finds each, with its bytes, at both ends.
func (s *shop) metrics(t *testing.T) {
	const calls, size = 7, 1000
	client := s.pod(t, "shop/counted", "node-a")
	must(t, lab.WaitEnrolled(ctx(t), client))
	must(t, s.waitTunnels(ctx(t), client))
	for range calls {
		c, err := program(t, client).To(ctx(t), s.far.At(false, portEcho))
		must(t, err)
		must(t, c.Ping(ctx(t), make([]byte, size)...))
		must(t, c.Close(ctx(t)))
	}
	for node, reporter := range map[string]string{"node-a": "source", "node-b": "destination"} {
		labels := []string{`reporter="` + reporter + `"`, `source_principal="` + client.Identity() + `"`,
			`destination_principal="` + s.far.Identity() + `"`, `connection_security_policy="mutual_tls"`}
		for name, want := range map[string]float64{
			"istio_tcp_connections_opened_total": calls, "istio_tcp_connections_closed_total": calls,
			"istio_tcp_received_bytes_total": calls * size, "istio_tcp_sent_bytes_total": calls * size,
		} {
			eventually(t, func() error {
				got, err := s.metric(ctx(t), node, name, labels...)
				if err == nil && got != want {
					err = fmt.Errorf("%s at %s is %v, want %v", name, node, got, want)
				}
				return err
			})
		}
	}
}

// accessLog finds each of some calls once at each end, with both identities.
func (s *shop) accessLog(t *testing.T) {
	client := s.pod(t, "shop/logged", "node-a")
	must(t, lab.WaitEnrolled(ctx(t), client))
	must(t, s.waitTunnels(ctx(t), client))
	for range 5 {
		must(t, answers(ctx(t), program(t, client), s.far.At(true, portBanner)))
	}
	for node, direction := range map[string]string{"node-a": "outbound", "node-b": "inbound"} {
		eventually(t, func() error {
			b, err := os.ReadFile(s.AccessLog(node))
			if err != nil {
				return err
			}
			n := 0
			for line := range strings.Lines(string(b)) {
				if !json.Valid([]byte(line)) {
					return fmt.Errorf("access log of %s: %q is not JSON", node, line)
				}
				if all([]string{client.Identity(), s.far.Identity(), `"direction":"` + direction + `"`}, line) {
					n++
				}
			}
			if n != 5 {
				return fmt.Errorf("%d lines in the access log of %s, want 5", n, node)
			}
			return nil
		})
	}
}

// commandLine asks the CLI about the running lab.
func (s *shop) commandLine(t *testing.T) {
	c, err := program(t, s.client).To(ctx(t), s.far.At(false, portEcho))
	must(t, err)
	must(t, c.Ping(ctx(t)))
	for _, x := range []struct {
		args []string
		want []string
	}{
		{[]string{"status"}, []string{"node-a", "node-b", "shop/client", "enrolled", "plain/near", s.client.Identity()}},
		{[]string{"connections"}, []string{"shop/client", fmt.Sprintf("shop/far:%d", portEcho)}},
		{[]string{"explain", "shop/client", "shop/far", fmt.Sprint(portEcho)}, []string{"tunnel", s.far.Identity()}},
		{[]string{"version"}, []string{"node-a"}},
	} {
		out := s.cli(t, x.args...)
		for _, w := range x.want {
			if !strings.Contains(out, w) {
				t.Errorf("ambit %q does not show %q:\n%s", x.args, w, out)
			}
		}
		if js := s.cli(t, append(x.args, "-o", "json")...); !json.Valid([]byte(js)) {
			t.Errorf("ambit %q -o json prints\n%s", x.args, js)
		}
	}
	must(t, c.Close(ctx(t)))
}

func (s *shop) cli(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx(t), filepath.Join(binaries, "ambit"), append([]string{"--lab", s.Name()}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("ambit %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestExplainAgrees asks explain about calls and then makes them.
func TestExplainAgrees(t *testing.T) {
	s := newShop(t, lab.Options{})
	second := s.pod(t, "shop/second", "node-a")
	must(t, lab.WaitEnrolled(ctx(t), second))
	must(t, s.waitTunnels(ctx(t), second))
	for _, c := range policyCases(s) {
		t.Run(c.name, func(t *testing.T) {
			s.authorize(t, "shop", "near", "near", c.action, c.rules)
			s.authorize(t, "shop", "far", "far", c.action, c.rules)
			defer s.clear(t)
			for _, to := range []*lab.Pod{s.near, s.far} {
				for from, pass := range map[*lab.Pod]bool{s.client: c.client, second: c.second, s.plainClient: c.plain} {
					s.agrees(t, from, to, pass)
				}
			}
		})
	}
}

func (s *shop) agrees(t *testing.T, from, to *lab.Pod, pass bool) {
	t.Helper()
	for _, node := range []string{"node-a", "node-b"} {
		eventually(t, func() error {
			e, err := s.explain(ctx(t), node, from.FullName(), to.FullName(), portBanner)
			if err == nil && (e.Allowed != pass || pass == (e.Reason != "")) {
				err = fmt.Errorf("%s says of %s to %s: %+v; it may pass: %v", node, from.FullName(), to.FullName(), e, pass)
			}
			return err
		})
	}
	b, err := program(t, from).Ask(ctx(t), app.DialArgs{Address: to.At(false, portBanner)})
	if (err == nil) != pass {
		t.Errorf("%s to %s: %+v %v", from.FullName(), to.FullName(), b, err)
	}
}
