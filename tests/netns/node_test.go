package netns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/ambitmesh/ambit/internal/lab"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// TestZDSPeers connects to the agent's socket as root from cgroups that no proxy runs in.
func TestZDSPeers(t *testing.T) {
	s := newShop(t, lab.Options{})
	socket := filepath.Join(s.Node("node-a").RunDir(), "zds", "zds.sock")
	t.Run("from outside of the node", func(t *testing.T) {
		if err := helloZDS(socket); err == nil {
			t.Error("the agent took this process for a proxy")
		}
	})
	t.Run("from a pod's cgroup", func(t *testing.T) {
		if err := s.peer(t, s.client.Host, "", socket); err == nil {
			t.Error("the agent took a pod's process for a proxy")
		}
	})
	t.Run("from the node's own cgroup", func(t *testing.T) {
		if err := s.peer(t, s.Node("node-a").Host, "", socket); err == nil {
			t.Error("the agent took a process of the node's root cgroup for a proxy")
		}
	})
	s.works(t)
	for _, f := range []string{socket, filepath.Dir(socket)} {
		st, err := os.Stat(f)
		must(t, err)
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", f, st.Mode())
		}
	}
	t.Run("from a cgroup of its own", func(t *testing.T) { // so that the refusals above mean something
		must(t, s.peer(t, s.Node("node-a").Host, s.Node("node-a").HostCgroup(), socket))
	})
}

// peer says hello from a process of its own. An error is a refusal.
func (s *shop) peer(t *testing.T, h *lab.Host, cgroup, socket string) error {
	t.Helper()
	var out bytes.Buffer
	p, err := h.Start(lab.Command{Args: []string{"/proc/self/exe", "-test.run", "^TestZDSPeerHelper$"},
		Env: []string{"AMBIT_ZDS=" + socket}, Cgroup: cgroup, Stdout: &out, Stderr: &out})
	must(t, err)
	err = p.Wait(ctx(t))
	if !strings.Contains(out.String(), "said hello") {
		t.Fatalf("the helper did not get so far: %v\n%s", err, out.String())
	}
	return err
}

// TestZDSPeerHelper is not a test: it fails if the agent refuses this process.
func TestZDSPeerHelper(t *testing.T) {
	socket := os.Getenv("AMBIT_ZDS")
	if socket == "" {
		t.Skip("only run by TestZDSPeers")
	}
	must(t, helloZDS(socket))
}

// helloZDS says hello and returns nil if the agent hands a pod over.
func helloZDS(socket string) error {
	c, err := net.Dial("unixpacket", socket)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer c.Close()
	b, err := proto.Marshal(&pb.ZdsHello{Version: pb.Version_V2, Instance: "a test's"})
	if err != nil {
		return err
	}
	fmt.Println("said hello")
	if _, err := c.Write(b); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	n, err := c.Read(make([]byte, 1<<16))
	if n == 0 && err == nil {
		err = io.EOF
	}
	if err != nil {
		return fmt.Errorf("wait for a pod: %w", err)
	}
	return nil
}

// TestCleanup stops a node's mesh and takes everything away: traffic is plain, and nothing is left in pods.
func TestCleanup(t *testing.T) {
	s := newShop(t, lab.Options{})
	n := s.Node("node-a")
	if err := n.CleanAgent(ctx(t)); err == nil {
		t.Error("cleanup under a running agent should be refused")
	}
	must(t, n.Ztunnel().Remove())
	must(t, n.Agent().Stop(ctx(t)))
	must(t, n.CleanAgent(ctx(t)))
	for _, p := range []*lab.Pod{s.client, s.near} {
		must(t, unchanged(p, s.plainClient))
	}
	pins, err := filepath.Glob(filepath.Join(s.BPFFS(), "ambit", n.Instance(), "*"))
	must(t, err)
	if len(pins) > 0 {
		t.Errorf("pins left: %q", pins)
	}
	t.Run("the other node's agent is not touched", func(t *testing.T) {
		st, err := s.far.Status(ctx(t))
		must(t, err)
		if st.Actual != "enrolled" {
			t.Errorf("status %+v", st)
		}
	})
	both(t, func(t *testing.T, v6 bool) { must(t, answers(ctx(t), program(t, s.client), s.near.At(v6, portBanner))) })
	t.Run("and again", func(t *testing.T) {
		must(t, n.StartAgent(ctx(t)))
		_, err := n.StartZtunnel(ctx(t))
		must(t, err)
		must(t, lab.WaitEnrolled(ctx(t), s.client, s.near))
		must(t, s.waitTunnels(ctx(t), s.client, s.near, s.far))
		s.works(t)
	})
}

// unchanged compares rules, tables and sysctls of a pod with one that was never enrolled.
func unchanged(p, never *lab.Pod) error {
	got, err := network(p)
	if err != nil {
		return err
	}
	want, err := network(never)
	if err != nil {
		return err
	}
	var errs []error
	for k, v := range want {
		if got[k] != v {
			errs = append(errs, fmt.Errorf("pod %s: %s is %q, in a pod that was never enrolled %q", p.FullName(), k, got[k], v))
		}
	}
	return errors.Join(errs...)
}

func network(p *lab.Pod) (map[string]string, error) {
	out := map[string]string{}
	err := p.Do(func() error {
		for _, k := range []string{"ipv4/tcp_fwmark_accept", "ipv4/fwmark_reflect", "ipv6/fwmark_reflect"} {
			b, err := os.ReadFile("/proc/sys/net/" + k)
			if err != nil {
				return err
			}
			out[k] = strings.TrimSpace(string(b))
		}
		return countRules(out)
	})
	return out, err
}

// countRules counts rules and routes of the calling thread's namespace, of both families.
func countRules(out map[string]string) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	for name, family := range map[string]int{"v4": unix.AF_INET, "v6": unix.AF_INET6} {
		rules, err := h.RuleList(family)
		if err != nil {
			return err
		}
		routes, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return err
		}
		out[name+" rules"], out[name+" routes"] = fmt.Sprint(len(rules)), fmt.Sprint(len(routes))
	}
	return nil
}
