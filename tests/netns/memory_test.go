package netns

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// What a proxy may take, in MB of resident memory.
const (
	atRest        = 15
	withTunnels   = 25 // with 10,000 idle tunnels
	configuration = 40 // more with 10,000 workloads, 1,000 services and 1,000 policies
)

// TestMemory holds the proxies to what they may take, as they are deployed: with metrics, access log and a
// configuration that a controller has sent.
func TestMemory(t *testing.T) {
	if os.Getenv("RACE") != "" {
		t.Skip("the race detector takes memory of its own")
	}
	s := newShop(t, lab.Options{})
	proxies := []string{"node-a", "node-b"}
	rest := map[string]float64{}
	for _, n := range proxies {
		rest[n] = s.within(t, n, "at rest", atRest)
	}
	t.Run("idle tunnels", func(t *testing.T) {
		if b, err := s.Node("node-a").GetZtunnel(ctx(t), "/config_dump"); err != nil || !strings.Contains(string(b), `"engine": "loop"`) {
			t.Skipf("only the loop engine is built for many idle tunnels (%v)", err)
		}
		n := long(10_000, 2_000)
		a := program(t, s.client)
		for range n / 1000 { // not all at once: this is about those that are open
			g, err := a.Many(ctx(t), app.ManyArgs{Dial: app.DialArgs{Address: s.far.At(false, portEcho), Timeout: 30 * time.Second}, N: 1000, Hold: true})
			must(t, err)
			noneFailed(t, g.Report)
			defer a.GroupClose(ctx(t), g.ID)
		}
		for _, node := range proxies {
			s.within(t, node, fmt.Sprintf("with %d idle tunnels", n), withTunnels)
		}
	})
	t.Run("configuration", func(t *testing.T) {
		n := long(10_000, 2_000)
		s.crowd(t, n)
		for _, node := range proxies {
			s.within(t, node, fmt.Sprintf("with %d workloads", n), rest[node]+configuration)
		}
	})
}

// within waits until the proxy of a node takes at most limit MB, and returns what it takes: memory is given
// back some time after it was used, that of the program's file each minute.
func (m *mesh) within(t *testing.T, node, when string, limit float64) (mb float64) {
	t.Helper()
	pid := m.Node(node).Ztunnel().PID()
	eventuallyWithin(t, 100*time.Second, func() error {
		own, file, err := residentParts(pid)
		mb = own + file
		if err == nil && mb > limit {
			time.Sleep(time.Second)
			err = fmt.Errorf("ztunnel of %s %s: %.1f MB of its own and %.1f of its program, at most %.1f together", node, when, own, file, limit)
		}
		if err == nil {
			t.Logf("%s %s: %.1f MB of its own and %.1f of its program", node, when, own, file)
		}
		return err
	})
	return mb
}

// residentParts reads how many MB of a process are in memory: its own and its program's.
func residentParts(pid int) (own, file float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		var to *float64
		switch f[0] {
		case "RssAnon:":
			to = &own
		case "RssFile:":
			to = &file
		default:
			continue
		}
		if _, err := fmt.Sscan(f[1], to); err != nil {
			return 0, 0, err
		}
		*to *= 1024 / 1e6
	}
	return own, file, nil
}

// crowd adds workloads, with a service and a policy for each ten, and waits until the proxies know them.
func (s *shop) crowd(t *testing.T, n int) {
	t.Helper()
	const perFile = 1000
	for from := 0; from < n; from += perFile {
		var b strings.Builder
		for i := from; i < from+perFile; i++ {
			v := i / 10
			fmt.Fprintf(&b, `---
apiVersion: v1
kind: Pod
metadata: {name: service-%[2]d-7d45dd7b89-%[1]d, namespace: team-%[3]d, uid: crowd-%[1]d, labels: {app: service-%[2]d}}
spec: {nodeName: node-%[4]d, serviceAccountName: service-%[2]d, containers: [{name: app, image: app}]}
status: {phase: Running, podIP: 10.%[5]d.%[6]d.%[7]d, podIPs: [{ip: 10.%[5]d.%[6]d.%[7]d}], conditions: [{type: Ready, status: "True"}]}
`, i, v, v%50, i/50, 200+i>>16, i>>8&255, i&255)
			if i%10 == 0 {
				fmt.Fprintf(&b, crowdService, v, v%50, 100+v>>8, v&255)
			}
		}
		must(t, s.Apply(fmt.Sprintf("crowd-%d", from/perFile), b.String()))
	}
	last := fmt.Sprintf("10.%d.%d.%d", 200+(n-1)>>16, (n-1)>>8&255, (n-1)&255)
	for _, node := range []string{"node-a", "node-b"} {
		eventuallyWithin(t, 2*time.Minute, func() error {
			b, err := s.Node(node).GetZtunnel(ctx(t), "/explain?source=shop/client&destination="+last+"&port=8080")
			if err == nil && !strings.Contains(string(b), fmt.Sprintf("7d45dd7b89-%d", n-1)) {
				err = fmt.Errorf("%s does not know the workload at %s: %s", node, last, b)
			}
			return err
		})
	}
}

const crowdService = `---
apiVersion: v1
kind: Service
metadata: {name: service-%[1]d, namespace: team-%[2]d}
spec: {clusterIP: 10.96.%[3]d.%[4]d, clusterIPs: [10.96.%[3]d.%[4]d], selector: {app: service-%[1]d}, ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 9090}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: policy-%[1]d, namespace: team-%[2]d}
spec:
  selector: {matchLabels: {app: service-%[1]d}}
  rules:
  - from: [{source: {principals: ["cluster.local/ns/team-%[2]d/sa/caller-%[1]d", "cluster.local/ns/ingress/sa/gateway"]}}]
    to: [{operation: {ports: ["8080"]}}]
`
