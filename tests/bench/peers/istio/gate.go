package istio

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// gate stands between a ztunnel that would show the token of a service account and a controller that knows
// nodes by their certificates: TLS in, mutual TLS out, and the bytes as they are.
type gate struct {
	own  *node
	conf *tls.Config
	root []byte // PEM
	url  string
}

// openGate listens on the node's loopback until life ends.
func openGate(life context.Context, own *node, tasks *sync.WaitGroup) (*gate, error) {
	g := &gate{own: own}
	cert, err := g.makeCert()
	if err != nil {
		return nil, err
	}
	g.conf = &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
	var l net.Listener
	err = own.on.Do(func() error {
		var err error
		l, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen for ztunnel: %w", err)
	}
	g.url = "https://" + l.Addr().String()
	context.AfterFunc(life, func() { l.Close() })
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { g.pass(life, c) })
		}
	})
	return g, nil
}

func (g *gate) makeCert() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the gate's key: %w", err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gate"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the gate's certificate: %w", err)
	}
	g.root = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// pass joins one connection to the controller. Whatever fails, ztunnel tries again.
func (g *gate) pass(ctx context.Context, c net.Conn) {
	in := tls.Server(c, g.conf)
	defer in.Close()
	if in.HandshakeContext(ctx) != nil {
		return
	}
	raw, err := g.own.dial(ctx)
	if err != nil {
		return
	}
	out := tls.Client(raw, g.own.tls())
	defer out.Close()
	stop := context.AfterFunc(ctx, func() { in.Close(); out.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(out, in)
		out.Close()
	}()
	io.Copy(in, out)
	in.Close()
	<-done
}
