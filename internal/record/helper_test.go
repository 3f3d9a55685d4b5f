package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// pki is one certificate that both sides have and trust.
type pki struct {
	cert tls.Certificate
	pool *x509.CertPool
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mesh.test"}, DNSNames: []string{"mesh.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &pki{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool}
}

// config is of mutual TLS 1.3 in both roles, without tickets.
func (p *pki) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{p.cert},
		RootCAs: p.pool, ClientCAs: p.pool, ServerName: "mesh.test",
		ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true,
	}
}

// tcp is a connected pair on loopback; both ends time out, so that a test that
// fails does not hang.
func tcp(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		_ = client.Close()
		t.Fatal(err)
	}
	for _, c := range []net.Conn{client, server} {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		t.Cleanup(func() { _ = c.Close() })
	}
	return client, server
}

// ours is an end whose records are ours.
type ours struct {
	t    testing.TB
	conn net.Conn // below TLS
	tls  *tls.Conn
	r    *Reader
	w    *Writer
	buf  []byte // read, not opened
}

// startOurs runs a handshake and takes it over.
func startOurs(t testing.TB, c net.Conn, base *tls.Config, client bool) (*ours, error) {
	cfg, s := base.Clone(), &Secrets{}
	cfg.KeyLogWriter = s
	o := &ours{t: t, conn: c}
	if client {
		o.tls = tls.Client(NewBoundary(c), cfg)
	} else {
		o.tls = tls.Server(NewBoundary(c), cfg)
	}
	if err := o.tls.Handshake(); err != nil {
		return nil, err
	}
	var err error
	o.r, o.w, err = Take(o.tls, s, client)
	return o, err
}

// pair is our end and a crypto/tls end after a handshake.
func pair(t testing.TB, mine, theirs *tls.Config, client bool) (*ours, *tls.Conn) {
	t.Helper()
	a, b := tcp(t)
	var peer *tls.Conn
	if client {
		peer = tls.Server(b, theirs)
	} else {
		peer = tls.Client(b, theirs)
	}
	done := make(chan error, 1)
	go func() { done <- peer.Handshake() }()
	o, err := startOurs(t, a, mine, client)
	if perr := <-done; err != nil || perr != nil {
		t.Fatalf("handshake: ours %v, peer %v", err, perr)
	}
	return o, peer
}

// flush sends what is queued.
func (o *ours) flush() {
	o.t.Helper()
	o.w.Seal()
	for len(o.w.Pending()) > 0 {
		n, err := o.conn.Write(o.w.Pending())
		if err != nil {
			o.t.Fatal(err)
		}
		o.w.Sent(n)
	}
	o.w.Release()
}

// read reads until n bytes of text have come, or Open fails.
func (o *ours) read(n int) ([]byte, error) {
	var got bytes.Buffer
	text := func(p []byte) error { got.Write(p); return nil }
	for {
		used, err := o.r.Open(o.buf, text)
		o.buf = o.buf[used:]
		if err != nil || got.Len() >= n {
			return got.Bytes(), err
		}
		if err := o.more(); err != nil {
			return got.Bytes(), err
		}
	}
}

// more reads from the connection once.
func (o *ours) more() error {
	in := make([]byte, 64<<10)
	n, err := o.conn.Read(in)
	if err != nil {
		return errors.New("connection without close_notify: " + err.Error()) // its io.EOF is not ours
	}
	o.buf = append(o.buf, in[:n]...)
	return nil
}

// talk sends n random bytes each way and compares them.
func talk(t testing.TB, o *ours, peer *tls.Conn, n int) {
	t.Helper()
	want := make([]byte, n)
	_, _ = rand.Read(want)
	got := make([]byte, n)
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(peer, got)
		if err == nil {
			_, err = peer.Write(got)
		}
		done <- err
	}()
	write(o.w, want)
	o.flush()
	back, err := o.read(n)
	if perr := <-done; err != nil || perr != nil {
		t.Fatalf("ours %v, peer %v", err, perr)
	}
	if !bytes.Equal(got, want) || !bytes.Equal(back, want) {
		t.Fatal("bytes differ")
	}
}
