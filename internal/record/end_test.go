package record

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"
)

// A client that writes as soon as its own handshake is done loses nothing: its
// text and its Finished come together.
func TestTextWithFinished(t *testing.T) {
	p := newPKI(t)
	a, b := tcp(t)
	peer := tls.Client(b, p.config())
	done := make(chan error, 1)
	go func() {
		_, err := peer.Write([]byte("at once"))
		done <- err
		_ = peer.CloseWrite()
	}()
	o, err := startOurs(t, a, p.config(), false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.read(7)
	if string(got) != "at once" || (err != nil && !errors.Is(err, io.EOF)) || <-done != nil {
		t.Fatalf("got %q, %v", got, err)
	}
}

// Both sides end with close_notify, and both see it.
func TestCloseBothWays(t *testing.T) {
	p := newPKI(t)
	for _, client := range []bool{true, false} {
		o, peer := pair(t, p.config(), p.config(), client)
		write(o.w, []byte("bye"))
		o.w.CloseNotify()
		o.flush()
		if got, err := io.ReadAll(peer); string(got) != "bye" || err != nil {
			t.Fatalf("peer got %q, %v", got, err)
		}
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := o.read(1); !errors.Is(err, io.EOF) {
			t.Fatalf("got %v", err)
		}
		if len(drain(o.w)) > 0 {
			t.Fatal("something is sent after the end")
		}
	}
}

// Our alert reaches crypto/tls under its name; that of a server which refuses
// our certificate after our handshake is done reaches us under its.
func TestAlerts(t *testing.T) {
	p := newPKI(t)
	o, peer := pair(t, p.config(), p.config(), true)
	o.w.Alert(AlertRecordOverflow)
	o.flush()
	if _, err := peer.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "record overflow") {
		t.Fatalf("peer got %v", err)
	}
	refuse := p.config()
	refuse.ClientCAs = x509.NewCertPool()
	a, b := tcp(t)
	go func() { _ = tls.Server(b, refuse).Handshake() }()
	o, err := startOurs(t, a, p.config(), true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.read(1)
	var alert *AlertError
	if !errors.As(err, &alert) || !errors.As(err, new(tls.AlertError)) {
		t.Fatalf("got %v", err)
	}
}
