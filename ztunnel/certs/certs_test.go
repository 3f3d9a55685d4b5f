package certs

import (
	"crypto/x509"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/ztunnel/certs/certstest"
)

func TestJoinThenOneCertificateForEachIdentity(t *testing.T) {
	ca := certstest.Start(t, td)
	x := begin(t, ca)
	web := idOf("web")
	x.Hold(web)
	x.Hold(web)
	c := x.await(t, web)
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: c.Roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
	if n := ca.Count(web.String()); n != 1 {
		t.Errorf("asked %d times for one identity", n)
	}
	x.Release(web)
	if got, _ := x.Get(web); got != c {
		t.Error("gone with the first of two pods")
	}
	x.Release(web)
	if got, _ := x.Get(web); got != nil {
		t.Error("kept without a pod")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if at, ok := x.expiry[web.String()]; !ok || !at.IsZero() {
		t.Errorf("expiry of a forgotten identity: %v %v", at, ok)
	}
	if x.expiry[nodeURI].IsZero() {
		t.Error("expiry of the node's certificate is not told")
	}
}

func TestShortLivesAreRenewedInTime(t *testing.T) {
	ca := certstest.Start(t, td)
	ca.SetLife(10 * time.Second) // half of it is what a busy machine may take to renew
	x := begin(t, ca)
	web := idOf("web")
	x.Hold(web)
	first := x.await(t, web)
	for range 150 { // a life and a half, in which there is always a good one
		if c, _ := x.Get(web); c == nil || !c.Valid(time.Now()) {
			t.Fatal("a moment without certificate")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if c := x.await(t, web); c == first {
		t.Error("it is still the first one")
	}
	if x.node.Cert().Leaf.NotAfter.Before(time.Now()) {
		t.Error("the node's certificate was not renewed")
	}
}

func TestWrongAnswersAreRefused(t *testing.T) {
	web, db := idOf("web"), idOf("db")
	other := testca.New(t)
	tests := map[string]func(*testing.T, *certstest.CA, *certstest.Answer){
		"another identity": func(t *testing.T, _ *certstest.CA, a *certstest.Answer) {
			_, csr, err := identity.NewCSR(db.String())
			if err == nil {
				a.Chain, err = other.SignCSR(csr)
			}
			if err != nil {
				t.Error(err)
			}
		},
		"another key": func(t *testing.T, _ *certstest.CA, a *certstest.Answer) {
			_, csr, err := identity.NewCSR(web.String())
			if err == nil {
				a.Chain, err = other.SignCSR(csr)
			}
			if err != nil {
				t.Error(err)
			}
		},
		"roots that it does not chain to": func(_ *testing.T, _ *certstest.CA, a *certstest.Answer) {
			a.Chain[1] = identity.EncodeCerts([]*x509.Certificate{other.Cert})
		},
		"no roots": func(_ *testing.T, _ *certstest.CA, a *certstest.Answer) { a.Chain = a.Chain[:1] },
		"garbage":  func(_ *testing.T, _ *certstest.CA, a *certstest.Answer) { a.Chain = []string{"x", "y"} },
		"nothing":  func(_ *testing.T, _ *certstest.CA, a *certstest.Answer) { a.Chain = nil },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			ca := certstest.Start(t, td)
			x := begin(t, ca)
			<-x.node.Ready()
			ca.Alter(func(a *certstest.Answer) {
				if a.URI == web.String() {
					spoil(t, ca, a)
				}
			})
			x.Hold(web)
			eventually(t, "a refusal", func() bool { s := x.List(); return s[len(s)-1].Err != nil })
			if c, _ := x.Get(web); c != nil {
				t.Fatalf("accepted %v", c.Leaf.URIs)
			}
			ca.Alter(nil)
			x.Kick()
			x.await(t, web)
		})
	}
}

func TestFailureKeepsTheCertificate(t *testing.T) {
	ca := certstest.Start(t, td)
	ca.SetLife(8 * time.Second) // refused from before half of it
	x := begin(t, ca)
	web := idOf("web")
	x.Hold(web)
	c := x.await(t, web)
	ca.Refuse(web.String(), codes.PermissionDenied)
	eventually(t, "a failed renewal", func() bool { return ca.Count(web.String()) > 1 && x.List()[1].Fails > 0 })
	if got, _ := x.Get(web); got != c && time.Now().Before(c.Leaf.NotAfter) {
		t.Error("a certificate that is still good is not given")
	}
	eventually(t, "expiry", func() bool { return !c.Valid(time.Now()) })
	if got, ready := x.Get(web); got != nil || ready == nil {
		t.Error("an expired certificate is given")
	}
	ca.Refuse(web.String(), codes.OK)
	x.await(t, web)
}

func TestOnDemandFirstAndEightAtOnce(t *testing.T) {
	ca := certstest.Start(t, td)
	x := begin(t, ca)
	<-x.node.Ready()
	gate := make(chan struct{})
	for i := range 20 {
		id := idOf(fmt.Sprintf("a%02d", i))
		ca.Hold(id.String(), gate)
		x.Hold(id)
	}
	eventually(t, "eight requests", func() bool { return len(ca.Asked()) == 1+maxFlying })
	waited := ""
	for i := range 20 { // one that has not been asked for yet
		if id := idOf(fmt.Sprintf("a%02d", i)); ca.Count(id.String()) == 0 {
			waited = id.String()
		}
	}
	id, err := identity.Parse(waited)
	if err != nil {
		t.Fatal(err)
	}
	x.Get(id)
	time.Sleep(50 * time.Millisecond)
	if n := len(ca.Asked()); n != 1+maxFlying {
		t.Errorf("%d requests at once", n-1)
	}
	ca.Hold(waited, nil)
	close(gate)
	x.await(t, id)
	eventually(t, "all", func() bool { return len(ca.Asked()) == 21 })
	if next := ca.Asked()[1+maxFlying : 1+2*maxFlying]; !slices.Contains(next, waited) {
		t.Errorf("what a connection waits for was not among the next: %v", next)
	}
}

func TestRotationReachesAllCertificates(t *testing.T) {
	ca := certstest.Start(t, td)
	x := begin(t, ca)
	web, db := idOf("web"), idOf("db")
	x.Hold(web)
	before := x.await(t, web)
	ca.Rotate()
	x.Hold(db)
	x.await(t, db)
	after, _ := x.Get(web)
	if n := len(x.node.Cert().RootCerts); n != 2 {
		t.Errorf("%d roots by which the controller is known", n)
	}
	if len(after.RootCerts) != 2 || after.Leaf != before.Leaf {
		t.Errorf("%d roots at the other certificate", len(after.RootCerts))
	}
	if n := x.rootsChanged(); n != 1 {
		t.Errorf("told %d times of new roots", n)
	}
	if err := x.node.ask(t.Context()); err != nil { // a certificate that the old root is not needed for
		t.Fatal(err)
	}
	ca.Retire()
	x.Hold(idOf("late"))
	c := x.await(t, idOf("late"))
	if len(c.RootCerts) != 1 || x.rootsChanged() != 2 {
		t.Errorf("%d roots, told %d times", len(c.RootCerts), x.rootsChanged())
	}
}

func TestALateAnswerDoesNotTakeRootsBack(t *testing.T) {
	m := &Manager{cfg: Config{Node: &Node{}}, entries: map[identity.ID]*entry{}}
	a, b := testca.New(t).Cert, testca.New(t).Cert
	if m.adopt([]*x509.Certificate{a}, 1) {
		t.Error("the first roots are a change")
	}
	if !m.adopt([]*x509.Certificate{b, a}, 3) || m.adopt([]*x509.Certificate{a, b}, 4) || m.adopt([]*x509.Certificate{a}, 2) {
		t.Error("changes are not told rightly")
	}
	if len(m.roots.certs) != 2 {
		t.Errorf("%d roots", len(m.roots.certs))
	}
}
