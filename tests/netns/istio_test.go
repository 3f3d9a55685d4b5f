package netns

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
	"github.com/ambitmesh/ambit/tests/bench/peers/istio"
	"github.com/ambitmesh/ambit/tests/bench/peers/nft"
)

// mixed is a mesh with our ztunnel on node-a and Istio's on node-b, under our controller.
type mixed struct {
	*mesh
	istio        *istio.Node
	ours, theirs *lab.Pod
}

func newMixed(t *testing.T) *mixed {
	t.Helper()
	bin := os.Getenv("AMBIT_BENCH_ZTUNNEL")
	if bin == "" {
		t.Skip("AMBIT_BENCH_ZTUNNEL names no ztunnel of Istio's")
	}
	if err := nft.Usable(); err != nil {
		t.Skip(err)
	}
	m := start(t, lab.Options{Manual: true})
	must(t, m.StartController(ctx(t)))
	must(t, m.Node("node-a").StartAgent(ctx(t)))
	_, err := m.Node("node-a").StartZtunnel(ctx(t))
	must(t, err)
	n, err := istio.Start(ctx(t), m.Lab, m.Node("node-b"), bin)
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	must(t, m.Enrol("shop", true))
	m.mtls(t, "shop", "STRICT")
	x := &mixed{mesh: m, istio: n, ours: m.pod(t, "shop/ours", "node-a"), theirs: m.pod(t, "shop/theirs", "node-b")}
	must(t, lab.WaitEnrolled(ctx(t), x.ours))
	must(t, n.Enrol(ctx(t), x.theirs))
	eventually(t, func() error {
		w, err := m.workload(ctx(t), "node-a", x.theirs)
		if err == nil && w.Protocol != "HBONE" {
			err = fmt.Errorf("our ztunnel takes theirs for %q", w.Protocol)
		}
		return err
	})
	return x
}

// TestIstiosZtunnel: what speaks HBONE with us is not only ourselves.
func TestIstiosZtunnel(t *testing.T) {
	x := newMixed(t)
	for _, way := range []struct {
		name     string
		from, to *lab.Pod
		crowd    int // at once: their listener's backlog is short
	}{{"ours calls theirs", x.ours, x.theirs, 1000}, {"theirs calls ours", x.theirs, x.ours, 100}} {
		t.Run(way.name, func(t *testing.T) {
			t.Run("answers", func(t *testing.T) {
				eventually(t, func() error { return answers(ctx(t), program(t, way.from), way.to.At(false, portBanner)) })
			})
			t.Run("half-close", func(t *testing.T) { halfClose(t, way.from, way.to, false) })
			t.Run("20 MB both ways", func(t *testing.T) { bulk(t, way.from, way.to, false, 20<<20) })
			t.Run(fmt.Sprint(way.crowd, " at once"), func(t *testing.T) { crowd(t, way.from, way.to, way.crowd) })
			t.Run("closed port", func(t *testing.T) { closedPort(t, way.from, way.to, false) })
			t.Run("denied", func(t *testing.T) { x.denied(t, way.from, way.to) })
			t.Run("lost tunnels", func(t *testing.T) {
				for range 3 {
					must(t, loseTunnels(way.from))
					eventually(t, func() error { return answers(ctx(t), program(t, way.from), way.to.At(false, portBanner)) })
				}
			})
		})
	}
	x.tunnelled(t)
}

// crowd holds connections and uses each.
func crowd(t *testing.T, from, to *lab.Pod, n int) {
	a := program(t, from)
	g, err := a.Many(ctx(t), app.ManyArgs{Dial: app.DialArgs{Address: to.At(false, portBanner), Timeout: 30 * time.Second}, N: n, Banner: true, Hold: true})
	must(t, err)
	if g.Report.OK != n {
		t.Errorf("%d of %d connections work: %v", g.Report.OK, n, g.Report.Errors)
	}
	r, err := a.GroupPing(ctx(t), g.ID)
	must(t, err)
	if r.OK != n || r.Failed > 0 {
		t.Errorf("later %d of %d work: %v", r.OK, n, r.Errors)
	}
	must(t, a.GroupClose(ctx(t), g.ID))
}

// denied forbids a port of a pod, and allows it again.
func (x *mixed) denied(t *testing.T, from, to *lab.Pod) {
	at := to.At(false, portEcho)
	x.authorize(t, "shop", "no-echo", to.Name, "DENY", fmt.Sprintf(`
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/%s"]}}]
    to: [{operation: {ports: ["%d"]}}]
`, from.Name, portEcho))
	eventually(t, func() error { return refusedEcho(t, from, at) })
	must(t, answers(ctx(t), program(t, from), to.At(false, portBanner)))
	x.forgetPolicy(t, "shop", "no-echo")
	eventually(t, func() error { return echoes(t, from, at) })
}

// tunnelled: nothing of all that went in plaintext. (Their ztunnel resumes no session, on either side.)
func (x *mixed) tunnelled(t *testing.T) {
	n, err := x.istio.Tunnelled(ctx(t))
	must(t, err)
	if n == 0 {
		t.Error("their ztunnel has no connection by mutual TLS")
	}
	plain, err := x.metric(ctx(t), "node-a", "istio_tcp_connections_opened_total", `connection_security_policy="unknown"`)
	must(t, err)
	tls, err := x.metric(ctx(t), "node-a", "istio_tcp_connections_opened_total", `connection_security_policy="mutual_tls"`)
	must(t, err)
	if tls == 0 || plain > 0 {
		t.Errorf("our ztunnel has %v connections by mutual TLS and %v without", tls, plain)
	}
}

func echoes(t *testing.T, from *lab.Pod, address string) error {
	c, err := program(t, from).To(ctx(t), address)
	if err != nil {
		return err
	}
	defer c.Close(ctx(t))
	return c.Ping(ctx(t), 'x')
}

func refusedEcho(t *testing.T, from *lab.Pod, address string) error {
	if echoes(t, from, address) == nil {
		return fmt.Errorf("%s still echoes", address)
	}
	return nil
}
