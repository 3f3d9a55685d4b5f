package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestFamilies has pods with one family only.
func TestFamilies(t *testing.T) {
	s := newShop(t, lab.Options{})
	four := s.pod(t, "shop/four", "node-b", func(p *lab.PodSpec) { p.V4Only = true })
	six := s.pod(t, "shop/six", "node-b", func(p *lab.PodSpec) { p.V6Only = true })
	must(t, lab.WaitEnrolled(ctx(t), four, six))
	must(t, s.waitTunnels(ctx(t), four, six))
	s.talk(t, s.client, four, false)
	s.talk(t, s.client, six, true)
	s.talk(t, four, s.client, false)
	s.talk(t, six, s.client, true)
}

// TestSameNodeMTLS uses TLS also between pods of one node.
func TestSameNodeMTLS(t *testing.T) {
	s := newShop(t, lab.Options{SameNode: "mtls"})
	both(t, func(t *testing.T, v6 bool) {
		capture, err := s.near.Capture("eth0")
		must(t, err)
		c, err := program(t, s.client).To(ctx(t), s.near.At(v6, portEcho))
		must(t, err)
		must(t, c.Ping(ctx(t), []byte("nobody may read this")...))
		x, err := s.outbound(ctx(t), "node-a", s.client, netip.MustParseAddrPort(c.Local).Port())
		must(t, err)
		if x.Path != "tunnel" {
			t.Errorf("the connection went %+v", x)
		}
		must(t, c.Close(ctx(t)))
		trace, err := capture.Stop()
		must(t, err)
		must(t, trace.Port(15008).OnlyTLS())
		if trace.Contains([]byte("nobody may read this")) {
			t.Error("plaintext on the pod's link")
		}
		s.talk(t, s.client, s.near, v6)
		halfClose(t, s.client, s.near, v6)
	})
}

// TestExcludedPorts keeps a port out of capture: only if the namespace allows it, and never under STRICT.
func TestExcludedPorts(t *testing.T) {
	s := newShop(t, lab.Options{})
	s.authorize(t, "shop", "it", "near", "DENY", `
  - to: [{operation: {ports: ["8080", "8081"]}}]
`)
	excluded, other := s.near.At(false, portBanner), s.near.At(false, portEcho)
	eventually(t, func() error { return refused(ctx(t), program(t, s.plainClient), excluded) })
	must(t, s.near.Annotate("ambit.dev/exclude-inbound-ports", fmt.Sprint(portBanner)))
	time.Sleep(500 * time.Millisecond)
	must(t, refused(ctx(t), program(t, s.plainClient), excluded)) // the namespace does not allow it
	must(t, s.AnnotateNamespace("shop", "ambit.dev/allow-exclude-inbound-ports", "true"))
	eventually(t, func() error { return answers(ctx(t), program(t, s.plainClient), excluded) })
	must(t, refused(ctx(t), program(t, s.plainClient), other))
	s.mtls(t, "shop", "STRICT")
	eventually(t, func() error { return refused(ctx(t), program(t, s.plainClient), excluded) })
	st, err := s.near.Status(ctx(t))
	must(t, err)
	if len(st.Notes) == 0 {
		t.Error("status does not say that the exclusion is void")
	}
}

// TestNothingBeforeTheFirstAnswer starts a ztunnel that knows nothing: it admits nothing, not even what no
// policy is about.
func TestNothingBeforeTheFirstAnswer(t *testing.T) {
	s := newShop(t, lab.Options{})
	n := s.Node("node-b")
	must(t, s.Controller().Kill())
	must(t, n.Ztunnel().Remove())
	if err := os.Remove(filepath.Join(n.RunDir(), "ztunnel-snapshot")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	_, err := n.LaunchZtunnel(ctx(t))
	must(t, err)
	var calls sync.WaitGroup
	for _, from := range []*lab.Pod{s.client, s.plainClient} {
		for _, v6 := range []bool{false, true} {
			calls.Go(func() {
				b, err := program(t, from).Ask(ctx(t), app.DialArgs{Address: s.far.At(v6, portBanner), Timeout: 3 * time.Second})
				if err == nil {
					t.Errorf("answered %+v before any policy was known", b)
				}
			})
		}
	}
	calls.Wait()
	must(t, s.StartController(ctx(t)))
	s.works(t)
}
