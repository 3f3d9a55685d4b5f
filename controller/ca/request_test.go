package ca

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/identity"
	pb "github.com/ambitmesh/ambit/internal/meshpb/ca"
)

// csrOf makes a request of any kind.
func csrOf(t testing.TB, tmpl *x509.CertificateRequest) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func badCSRs(t testing.TB) map[string]string {
	t.Helper()
	_, good, err := identity.NewCSR(node1)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(node1)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	return map[string]string{
		"nothing": "", "text": "hello", "two": string(good) + string(good), "large": string(good) + strings.Repeat("x", maxCSR),
		"broken": string(flipped), "another kind of key": csrOf(t, &x509.CertificateRequest{URIs: []*url.URL{u}}),
		"no name": csrOf(t, &x509.CertificateRequest{}), "a DNS name": csrOf(t, &x509.CertificateRequest{URIs: []*url.URL{u}, DNSNames: []string{"x"}}),
		"two names": csrOf(t, &x509.CertificateRequest{URIs: []*url.URL{u, u}}), "not UTF-8": "\xff\xfe",
	}
}

func TestBadRequests(t *testing.T) {
	w := newWorld(t, nil)
	node := w.leaf(node1)
	for name, csr := range badCSRs(t) {
		_, err := w.service.CreateCertificate(caller(node, ""), &pb.IstioCertificateRequest{Csr: csr})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, csr, err := identity.NewCSR(node1)
	if err != nil {
		t.Fatal(err)
	}
	for _, seconds := range []int64{-1 << 63, -1, 1<<63 - 1} { // a life that overflows is the longest
		resp, err := w.service.CreateCertificate(caller(node, ""), &pb.IstioCertificateRequest{Csr: string(csr), ValidityDuration: seconds})
		if err != nil {
			t.Fatal(err)
		}
		certs, err := identity.ParseCerts([]byte(resp.GetCertChain()[0]))
		if err != nil || !certs[0].NotAfter.Equal(w.clock.now().Add(time.Hour)) {
			t.Errorf("life of %d s: until %v, %v", seconds, certs[0].NotAfter, err)
		}
	}
}

func FuzzCreateCertificate(f *testing.F) {
	w := newWorld(f, func(c *ServiceConfig) { c.NodeRate, c.PodWait = 1e9, time.Millisecond })
	w.pods.set("n1", webID)
	node := w.leaf(node1)
	for _, uri := range []string{node1, webID, ordersID} {
		_, csr, err := identity.NewCSR(uri)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(csr), uri, int64(60))
	}
	for _, csr := range badCSRs(f) {
		f.Add(csr, "", int64(0))
	}
	f.Fuzz(func(t *testing.T, csr, impersonate string, seconds int64) {
		req := request1(csr, impersonate)
		req.ValidityDuration = seconds
		resp, err := w.service.CreateCertificate(caller(node, ""), req)
		if err != nil {
			return
		}
		certs, err := identity.ParseCerts([]byte(resp.GetCertChain()[0]))
		if err != nil {
			t.Fatal(err)
		}
		if got := certs[0].URIs[0].String(); got != node1 && got != webID {
			t.Errorf("a node was given %s", got)
		}
		if certs[0].IsCA || certs[0].NotAfter.After(w.clock.now().Add(time.Hour)) || len(certs[0].DNSNames) > 0 {
			t.Errorf("leaf %+v", certs[0])
		}
	})
}
