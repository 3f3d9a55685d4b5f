package ca

import (
	"crypto/x509"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
)

const (
	webID    = "spiffe://cluster.local/ns/shop/sa/web"
	ordersID = "spiffe://cluster.local/ns/shop/sa/orders"
	node1    = "spiffe://cluster.local/node/n1"
	node2    = "spiffe://cluster.local/node/n2"
)

func TestWhoMayHaveWhat(t *testing.T) {
	w := newWorld(t, nil)
	w.pods.set("n1", webID)
	w.pods.set("n2", ordersID)
	foreign := testca.New(t)
	for _, tc := range []struct {
		name             string
		caller           *x509.Certificate
		uri, impersonate string
		code             codes.Code
		why              why
	}{
		{"a node renews its own", w.leaf(node1), node1, "", codes.OK, ""},
		{"a node names its own", w.leaf(node1), node1, node1, codes.OK, ""},
		{"a node for its pod", w.leaf(node1), webID, webID, codes.OK, ""},
		{"a node for a pod elsewhere", w.leaf(node1), ordersID, ordersID, codes.PermissionDenied, whyNotOnNode},
		{"a node for another node", w.leaf(node1), node2, node2, codes.PermissionDenied, whyNotOwn},
		{"a node for a pod of another trust domain", w.leaf(node1), "spiffe://evil/ns/shop/sa/web", "spiffe://evil/ns/shop/sa/web", codes.PermissionDenied, whyTrustDomain},
		{"a node for the controller", w.leaf(node1), "spiffe://cluster.local/ns/ambit-system/sa/ambit-controller", "spiffe://cluster.local/ns/ambit-system/sa/ambit-controller", codes.PermissionDenied, whyNotOnNode},
		{"a node for no identity", w.leaf(node1), "https://example.com/x", "https://example.com/x", codes.PermissionDenied, whyNotOwn},
		{"a request for other than the named", w.leaf(node1), webID, ordersID, codes.InvalidArgument, whyBadRequest},
		{"a pod renews its own", w.leaf(webID), webID, "", codes.OK, ""},
		{"a pod for its neighbour on the node", w.leaf(webID), ordersID, ordersID, codes.PermissionDenied, whyNotOwn},
		{"a pod for its neighbour, unnamed", w.leaf(webID), ordersID, "", codes.PermissionDenied, whyNotOwn},
		{"a pod for a node", w.leaf(webID), node1, "", codes.PermissionDenied, whyNotOwn},
		{"a certificate of another trust domain", foreign.Issue("spiffe://evil/node/n1").Leaf, node1, "", codes.Unauthenticated, whyCredential},
		{"a certificate of nobody", foreign.Issue("https://x/y").Leaf, node1, "", codes.Unauthenticated, whyCredential},
		{"a certificate with two names", foreign.Issue(node1, testca.WithURI(webID)).Leaf, node1, "", codes.Unauthenticated, whyCredential},
		{"nobody", nil, node1, "", codes.Unauthenticated, whyCredential},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := refusals(w, tc.why)
			got, err := w.ask(caller(tc.caller, ""), tc.uri, tc.impersonate)
			if status.Code(err) != tc.code {
				t.Fatalf("%v, want %v", err, tc.code)
			}
			if err != nil {
				if n := refusals(w, tc.why) - before; n != 1 {
					t.Errorf("%q counted %v times", tc.why, n)
				}
				if strings.Contains(err.Error(), "spiffe") {
					t.Errorf("the caller is told %q", err)
				}
				return
			}
			if got.Leaf.URIs[0].String() != tc.uri {
				t.Errorf("got %s", got.Leaf.URIs[0])
			}
			if err := verify(got, w.ca.Roots(), w.clock.now()); err != nil {
				t.Error(err)
			}
		})
	}
}

func refusals(w *world, y why) float64 {
	return testutil.ToFloat64(w.service.metrics.refused.WithLabelValues(string(y)))
}

func TestJoin(t *testing.T) {
	w := newWorld(t, nil)
	token, err := w.tokens.Create("n1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, token, uri string, code codes.Code) {
		t.Helper()
		if _, err := w.ask(caller(nil, token), uri, ""); status.Code(err) != code {
			t.Errorf("%s: %v, want %v", what, err, code)
		}
	}
	refused("for another node", token, node2, codes.Unauthenticated)
	refused("for a pod", token, webID, codes.PermissionDenied)
	refused("for another trust domain", token, "spiffe://evil/node/n1", codes.PermissionDenied)
	refused("with a forged token", strings.Replace(token, "ambit-", "ambit-0", 1), node1, codes.Unauthenticated)
	if _, err := w.service.CreateCertificate(caller(nil, token), request1("junk", "")); status.Code(err) != codes.InvalidArgument {
		t.Errorf("junk: %v", err)
	}
	got, err := w.ask(caller(nil, token), node1, "") // none of these has used it up
	if err != nil {
		t.Fatal(err)
	}
	if _, node, err := identity.NodeName(got.Leaf); node != "n1" || err != nil {
		t.Errorf("joined as %q, %v", node, err)
	}
	refused("twice", token, node1, codes.Unauthenticated)

	late, err := w.tokens.Create("n1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Hour)
	refused("too late", late, node1, codes.Unauthenticated)
}

func TestOneTokenJoinsOneOfManyAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	token, err := w.tokens.Create("n1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	won := 0
	for range 8 {
		wg.Go(func() {
			if _, err := w.ask(caller(nil, token), node1, ""); err == nil {
				mu.Lock()
				defer mu.Unlock()
				won++
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d joined with one token", won)
	}
}

func TestCertificateThatEndedMeanwhile(t *testing.T) {
	w := newWorld(t, nil)
	leaf := w.leaf(node1)
	w.clock.pass(2 * time.Hour)
	if _, err := w.ask(caller(leaf, ""), node1, ""); status.Code(err) != codes.Unauthenticated || refusals(w, whyExpired) != 1 {
		t.Errorf("%v", err)
	}
}

func TestPodThatTheControllerHearsOfLater(t *testing.T) {
	w := newWorld(t, func(c *ServiceConfig) { c.PodWait = 20 * time.Second })
	node := w.leaf(node1)
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(50 * time.Millisecond)
		w.pods.set("n1", webID)
	})
	if _, err := w.ask(caller(node, ""), webID, webID); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestNothingForPodsBeforeTheFirstRead(t *testing.T) {
	ready := false
	w := newWorld(t, func(c *ServiceConfig) { c.Ready = func() bool { return ready } })
	w.pods.set("n1", webID)
	if _, err := w.ask(caller(w.leaf(node1), ""), webID, webID); status.Code(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
	if _, err := w.ask(caller(w.leaf(node1), ""), node1, ""); err != nil {
		t.Errorf("its own: %v", err)
	}
	ready = true
	if _, err := w.ask(caller(w.leaf(node1), ""), webID, webID); err != nil {
		t.Errorf("after: %v", err)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, func(c *ServiceConfig) { c.NodeRate, c.UnknownRate = 0.2, 0.2 })
	node, other := w.leaf(node1), w.leaf(node2)
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.ResourceExhausted} {
		if _, err := w.ask(caller(node, ""), node1, ""); status.Code(err) != want {
			t.Errorf("request %d of one node: %v, want %v", i, err, want)
		}
	}
	if _, err := w.ask(caller(other, ""), node2, ""); err != nil {
		t.Errorf("another node suffers: %v", err)
	}
	for i, want := range []codes.Code{codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated, codes.ResourceExhausted} {
		if _, err := w.ask(caller(nil, "x"), node1, ""); status.Code(err) != want {
			t.Errorf("request %d of nobody: %v, want %v", i, err, want)
		}
	}
	for range cap(w.service.slots) {
		w.service.slots <- struct{}{}
	}
	if _, err := w.ask(caller(other, ""), node2, ""); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("with all slots taken: %v", err)
	}
}
