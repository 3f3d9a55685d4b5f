package hbone

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var testCert = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"test"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

// tlsConfig is for both ends; who the peer is, is not what is tested here.
func tlsConfig(t testing.TB) *tls.Config {
	t.Helper()
	cert, err := testCert()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"}, InsecureSkipVerify: true}
}

// tcpPair returns both ends of a loopback TCP connection.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// tlsPair returns both ends of a TLS 1.3 connection over loopback TCP.
func tlsPair(t testing.TB) (client, server *tls.Conn) {
	t.Helper()
	c, s := tcpPair(t)
	client, server = tls.Client(c, tlsConfig(t)), tls.Server(s, tlsConfig(t))
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return client, server
}

// endpoints returns both ends of a tunnel connection over TLS.
func endpoints(t testing.TB, ccfg, scfg Config) (*ClientConn, *ServerConn) {
	t.Helper()
	c, s := tlsPair(t)
	return endpointsOn(t, c, s, ccfg, scfg)
}

func endpointsOn(t testing.TB, c, s net.Conn, ccfg, scfg Config) (*ClientConn, *ServerConn) {
	t.Helper()
	sc := NewServer(s, scfg)
	cc, err := NewClient(c, ccfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close(); sc.Close() })
	return cc, sc
}

// serve answers every tunnel 200 and hands it to handle.
func serve(t testing.TB, sc *ServerConn, handle func(*Stream)) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			s, err := sc.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer s.Close()
				if err := s.Respond(200); err == nil {
					handle(s)
				}
			})
		}
	})
	t.Cleanup(func() { sc.Close(); wg.Wait() })
}

func echo(s *Stream) {
	if _, err := s.WriteTo(s); err == nil {
		_ = s.CloseWrite()
		_, _ = io.Copy(io.Discard, s)
	}
}

func open(t testing.TB, cc *ClientConn) *Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := cc.Open(ctx, &Request{Authority: "10.0.0.1:80"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if status, _, err := s.WaitResponse(ctx); err != nil || status != 200 {
		t.Fatalf("answer: %d, %v", status, err)
	}
	return s
}

// eventually waits for what becomes true in another goroutine.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// ours returns the stacks of goroutines that run this package's code outside of the test function.
func ours() (stacks []string) {
	buf := make([]byte, 4*mib)
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "hbone.(*conn)") {
			stacks = append(stacks, g)
		}
	}
	return stacks
}

func noLeak(t testing.TB) {
	t.Helper()
	for range 10000 {
		if len(ours()) == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("goroutines leak:\n%s", strings.Join(ours(), "\n\n"))
}
