package record

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Both roles, with and without a client certificate and with and without tickets
// (which crypto/tls's server seals at different moments) agree on every sequence
// number.
func TestTakeAgrees(t *testing.T) {
	p := newPKI(t)
	for _, client := range []bool{true, false} {
		for _, tickets := range []bool{true, false} {
			for _, mutual := range []bool{true, false} {
				cfg := p.config()
				cfg.SessionTicketsDisabled = !tickets
				cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1) // else the client asks for no tickets
				if !mutual {
					cfg.ClientAuth = tls.NoClientCert
				}
				t.Run(name("client", client)+name("tickets", tickets)+name("mutual", mutual), func(t *testing.T) {
					o, peer := pair(t, cfg, cfg, client)
					if seq := o.w.seq; (seq == 1) != (tickets && !client) {
						t.Errorf("writer starts at %d", seq)
					}
					for _, n := range []int{1, MaxText, 100_000} {
						talk(t, o, peer, n)
					}
				})
			}
		}
	}
}

func name(s string, on bool) string {
	if on {
		return "+" + s
	}
	return "-" + s
}

// After Take the tls.Conn cannot disturb the connection.
func TestTakenIsCutOff(t *testing.T) {
	p := newPKI(t)
	o, peer := pair(t, p.config(), p.config(), true)
	_, _ = o.tls.Write([]byte("x"))
	_ = o.tls.SetDeadline(time.Now().Add(-time.Hour))
	if n, err := o.tls.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("read %d bytes", n)
	}
	_ = o.tls.Close()
	talk(t, o, peer, 1000)
}

func TestTakeRefuses(t *testing.T) {
	p := newPKI(t)
	old := p.config()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	a, b := tcp(t)
	go func() { _ = tls.Server(b, old).Handshake() }()
	if _, err := startOurs(t, a, old, true); err == nil || !strings.Contains(err.Error(), "TLS 1.2") {
		t.Errorf("TLS 1.2: got %v", err)
	}
	if _, _, err := Take(tls.Client(b, old), &Secrets{}, true); err == nil {
		t.Error("connection without a boundary is taken")
	}
	s := logged(t, allSuites[0])
	for name, bad := range map[string]func() error{
		"no secrets":    func() error { _, _, err := New(&Secrets{}, finished(allSuites[0]), true); return err },
		"unknown suite": func() error { _, _, err := New(s(), finished(0x1304), true); return err },
		"other hash":    func() error { _, _, err := New(s(), finished(allSuites[1]), true); return err },
		"not finished":  func() error { _, _, err := New(s(), tls.ConnectionState{Version: tls.VersionTLS13}, true); return err },
		"taken before": func() error {
			one := s()
			_, _, _ = New(one, finished(allSuites[0]), true)
			_, _, err := New(one, finished(allSuites[0]), true)
			return err
		},
		"two handshakes": func() error {
			one := s()
			_, _ = fmt.Fprintf(one, "%s %064x %064x\n", labelServer, 1, 2)
			_, _, err := New(one, finished(allSuites[0]), true)
			return err
		},
	} {
		if bad() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
