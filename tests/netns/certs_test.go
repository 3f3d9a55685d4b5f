package netns

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/lab"
)

// newShopOf is a shop whose controller signs with a root of the test's, which so can make any certificate.
func newShopOf(t *testing.T, ca *testca.CA) *shop {
	t.Helper()
	cert, key := ca.PEM()
	return newShop(t, lab.Options{ControllerFiles: map[string][]byte{"ca.pem": []byte(cert), "ca-key.pem": []byte(key)}})
}

// TestForeignPeers opens tunnels to a pod with every kind of wrong certificate and request.
func TestForeignPeers(t *testing.T) {
	ca := testca.New(t)
	s := newShopOf(t, ca)
	me := "spiffe://cluster.local/ns/plain/sa/client"
	good := ca.Issue(me)
	for _, c := range []struct {
		name   string
		cert   *identity.Cert
		served bool
	}{
		{"good", good, true},
		{"expired", ca.Issue(me, testca.NotAfter(time.Now().Add(-time.Minute))), false},
		{"not yet valid", ca.Issue(me, testca.NotBefore(time.Now().Add(10*time.Minute)), testca.WithLife(time.Hour)), false},
		{"self-signed", ca.Issue(me, testca.SelfSigned()), false},
		{"another root", withRoots(testca.New(t).Issue(me), good), false},
		{"no SAN", ca.Issue(me, testca.WithoutURIs()), false},
		{"two SANs", ca.Issue(me, testca.WithURI("spiffe://cluster.local/ns/shop/sa/client")), false},
		{"no workload's SAN", ca.Issue("spiffe://cluster.local/node/node-a"), false},
		{"another trust domain", ca.Issue("spiffe://elsewhere.local/ns/plain/sa/client"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, v6 bool) {
				err := s.tunnel(t, c.cert, s.far, v6, s.far.At(v6, portEcho))
				if (err == nil) != c.served {
					t.Errorf("tunnel with this certificate: %v", err)
				}
			})
		})
	}
	for name, authority := range map[string]string{
		"another pod": s.near.At(false, portEcho), "another pod of the node": s.plainFar.At(false, portEcho),
		"loopback": "127.0.0.1:8081", "the metadata service": "169.254.169.254:80", "an unknown name": "nowhere.shop.svc.cluster.local:80",
		"HBONE itself": s.far.At(false, 15008), "no port": s.far.V4.String(), "nothing": "",
	} {
		t.Run("authority of "+name, func(t *testing.T) {
			if err := s.tunnel(t, good, s.far, false, authority); err == nil {
				t.Errorf("a tunnel to %q was opened", authority)
			}
		})
	}
	t.Run("all is well afterwards", func(t *testing.T) { both(t, func(t *testing.T, v6 bool) { s.talk(t, s.client, s.far, v6) }) })
}

// withRoots has a client trust what another certificate's does, so that only the server may object.
func withRoots(c, from *identity.Cert) *identity.Cert {
	out := *c
	out.Roots, out.RootCerts = from.Roots, from.RootCerts
	return &out
}

// tunnel opens a tunnel from the plain client's namespace and echoes through it.
func (s *shop) tunnel(t *testing.T, cert *identity.Cert, to *lab.Pod, v6 bool, authority string) error {
	t.Helper()
	c, err := hbone.Dial(ctx(t), hbone.DialConfig{
		Addr:    to.At(v6, 15008),
		TLS:     identity.ClientConfig(func() (*identity.Cert, error) { return cert, nil }, []string{to.Identity()}, time.Now),
		Request: hbone.Request{Authority: authority}, Dial: s.plainClient.Dial,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, []byte("hello")) {
		return errors.New("the echo differs")
	}
	return nil
}

// TestForeignServers has the client's proxy meet a server with a wrong certificate: a pod's address that
// someone else took before the mesh knows.
func TestForeignServers(t *testing.T) {
	ca := testca.New(t)
	s := newShopOf(t, ca)
	id := "spiffe://cluster.local/ns/shop/sa/victim"
	for i, c := range []struct {
		name   string
		cert   *identity.Cert
		served bool
	}{
		{"good", ca.Issue(id), true},
		{"another identity", ca.Issue("spiffe://cluster.local/ns/shop/sa/thief"), false},
		{"expired", ca.Issue(id, testca.NotAfter(time.Now().Add(-time.Minute))), false},
		{"self-signed", ca.Issue(id, testca.SelfSigned()), false},
		{"another root", testca.New(t).Issue(id), false},
		{"another trust domain", ca.Issue("spiffe://elsewhere.local/ns/shop/sa/victim"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			victim := s.pod(t, fmt.Sprintf("shop/victim-%d", i), "node-b", func(p *lab.PodSpec) { p.ServiceAccount = "victim" })
			must(t, lab.WaitEnrolled(ctx(t), victim))
			must(t, s.waitTunnels(ctx(t), victim))
			must(t, victim.Vanish())
			thief, err := s.AddPod(t.Context(), lab.PodSpec{Namespace: "shop", Name: fmt.Sprintf("thief-%d", i), Node: "node-b", V4: victim.V4, V6: victim.V6, Unwritten: true})
			must(t, err)
			serveTunnels(t, thief, withRoots(c.cert, ca.Issue(id)))
			both(t, func(t *testing.T, v6 bool) {
				check := refused
				if c.served {
					check = answers
				}
				must(t, check(ctx(t), program(t, s.client), victim.At(v6, portBanner)))
			})
			must(t, victim.Forget())
			must(t, thief.Delete())
		})
	}
}

// serveTunnels answers every tunnel to the pod with a banner and an echo, from this process.
func serveTunnels(t *testing.T, p *lab.Pod, cert *identity.Cert) {
	t.Helper()
	for _, a := range p.Addresses() {
		var l net.Listener
		must(t, p.Do(func() error {
			var err error
			l, err = net.Listen("tcp", netip.AddrPortFrom(a, 15008).String())
			return err
		}))
		conf := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{cert.TLS},
			ClientAuth: tls.RequireAnyClientCert}
		ln := hbone.NewListener(l, hbone.ListenConfig{TLS: conf})
		t.Cleanup(func() { ln.Close() })
		go answerAll(ln)
	}
}

func answerAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprintf(c, "- - thief\n")
			io.Copy(c, c)
		}()
	}
}
