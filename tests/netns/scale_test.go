package netns

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestManyObjects has many policies and services, most of them about others. They cost calls nothing that a
// user could notice, and the last one counts as soon as the first.
func TestManyObjects(t *testing.T) {
	s := newShop(t, lab.Options{})
	before := s.many(t, s.far.At(false, portBanner), 100)
	noneFailed(t, before)
	var b strings.Builder
	n := long(3000, 500)
	for i := range n {
		fmt.Fprintf(&b, `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: crowd-%[1]d, namespace: shop}
spec:
  selector: {matchLabels: {app: %[2]s}}
  action: DENY
  rules:
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/nobody-%[1]d"], ipBlocks: ["192.0.2.%[3]d/32"]}}]
    to: [{operation: {ports: ["%[4]d"]}}]
---
apiVersion: v1
kind: Service
metadata: {name: crowd-%[1]d, namespace: crowd}
spec: {clusterIP: 10.96.%[5]d.%[6]d, clusterIPs: [10.96.%[5]d.%[6]d], selector: {app: far}, ports: [{name: tcp, port: 80, targetPort: %[4]d}]}
`, i, []string{"far", "near", "nobody"}[i%3], i%250, portBanner, 100+i/250, i%250)
	}
	begin := time.Now()
	must(t, s.Apply("crowd", b.String()))
	s.authorize(t, "shop", "it", "far", "DENY", fromClient)
	eventuallyWithin(t, time.Minute, func() error { return refused(ctx(t), program(t, s.client), s.far.At(false, portBanner)) })
	t.Logf("%d policies and services: the last policy holds after %s", n, time.Since(begin).Round(time.Millisecond))
	s.forgetPolicy(t, "shop", "it")
	eventually(t, func() error { return answers(ctx(t), program(t, s.client), s.far.At(false, portBanner)) })
	after := s.many(t, s.far.At(false, portBanner), 100)
	noneFailed(t, after)
	t.Logf("a call took %s before and %s afterwards (median)", before.P50, after.P50)
	if after.P50 > 10*before.P50+100*time.Millisecond {
		t.Errorf("a call took %s before and takes %s with many objects", before.P50, after.P50)
	}
	must(t, s.Remove("crowd"))
	s.works(t)
}

// TestFrozenEndpoint has one of two endpoints on a node that does not answer any more: calls to the service
// still succeed, the later ones at once.
func TestFrozenEndpoint(t *testing.T) {
	s := newShop(t, lab.Options{})
	alive, _ := s.backend(t, "alive", "node-a", "web"), s.backend(t, "frozen", "node-b", "web")
	web := s.service(t, "web")
	s.eject(t, "shop", "web", "60s")
	z := s.Node("node-b").Ztunnel()
	must(t, z.Signal(syscall.SIGSTOP))
	defer func() { must(t, z.Signal(syscall.SIGCONT)) }()
	l, err := program(t, s.client).Loop(ctx(t), app.LoopArgs{Dial: app.DialArgs{Address: web.At(false, 80), Timeout: 50 * time.Second}, Banner: true, Workers: 12, Count: 2})
	must(t, err)
	var r app.Report
	eventuallyWithin(t, 2*time.Minute, func() error {
		if r, err = l.Report(ctx(t)); err == nil && r.Running {
			err = fmt.Errorf("calls still hang: %+v", r)
		}
		return err
	})
	t.Logf("%d calls, %v, slowest %s", r.OK+r.Failed, r.Errors, r.Max)
	noneFailed(t, r)
	if r.Names[alive.FullName()] != r.OK {
		t.Errorf("answered by %v", r.Names)
	}
	later := s.many(t, web.At(false, 80), 20)
	noneFailed(t, later)
	if later.Max > 8*time.Second {
		t.Errorf("with the endpoint ejected a call took %s", later.Max)
	}
}
