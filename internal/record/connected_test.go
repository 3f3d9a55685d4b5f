package record

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// quick is a configuration for a handshake at each turn of a fuzzer.
func quick(t testing.TB) *tls.Config {
	t.Helper()
	cfg := newPKI(t).config()
	cfg.ClientAuth = tls.NoClientCert
	cfg.CurvePreferences = []tls.CurveID{tls.X25519}
	return cfg
}

// connected is a crypto/tls end after a handshake, client or server, cut off: it
// reads what its boundary is given. Its secrets are for ends of ours.
func connected(t testing.TB, cfg *tls.Config, client bool) (*tls.Conn, Secrets, tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	late := time.Now().Add(time.Minute)
	_, _ = a.SetDeadline(late), b.SetDeadline(late)
	var s Secrets
	mine := cfg.Clone()
	mine.KeyLogWriter = &s
	c, other := tls.Client(NewBoundary(a), mine), tls.Server(b, cfg)
	if !client {
		c, other = tls.Server(NewBoundary(a), mine), tls.Client(b, cfg)
	}
	done := make(chan error, 1)
	go func() { done <- other.Handshake() }()
	err := c.Handshake()
	if operr := <-done; err != nil || operr != nil {
		t.Fatalf("handshake: %v, peer %v", err, operr)
	}
	c.NetConn().(*boundary).take()
	_, _ = a.Close(), b.Close()
	return c, s, c.ConnectionState()
}
