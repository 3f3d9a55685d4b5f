package certs

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/ambitmesh/ambit/ztunnel/certs/certstest"
)

func TestTokenThatComesLater(t *testing.T) {
	ca := certstest.Start(t, td)
	ca.SetToken("second")
	x := begin(t, ca)
	eventually(t, "a refused token", func() bool { return x.node.Err() != nil })
	if err := os.WriteFile(x.token, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-x.node.Ready():
	case <-time.After(time.Minute):
		t.Fatalf("not joined: %v", x.node.Err())
	}
}

func TestBadTokenFiles(t *testing.T) {
	ca := certstest.Start(t, td)
	for name, content := range map[string]string{"empty": "\n", "two lines": "a\nb", "long": strings.Repeat("x", maxToken+1)} {
		x := build(t, ca)
		if err := os.WriteFile(x.token, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := x.node.token(); !errors.Is(err, ErrNoToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestControllerMustProveItself(t *testing.T) {
	ca := certstest.Start(t, td)
	for name, spoil := range map[string]func(*CA){
		"another root":     func(c *CA) { c.RootFile = certstest.Start(t, td).RootFile },
		"another identity": func(c *CA) { c.Controller = []string{"spiffe://cluster.local/ns/x/sa/y"} },
		"no root file":     func(c *CA) { c.RootFile = "/nonexistent" },
	} {
		x := build(t, ca)
		spoil(x.node.CA)
		if err := x.node.ask(t.Context()); err == nil {
			t.Errorf("%s: joined", name)
		}
	}
	if n := len(ca.Asked()); n != 0 {
		t.Errorf("told %d requests to a controller that had not proven itself", n)
	}
}

func TestRenewalFallsBackToANewToken(t *testing.T) {
	ca := certstest.Start(t, td)
	x := begin(t, ca)
	<-x.node.Ready()
	x.stop()
	before := x.node.Cert()
	if err := x.node.ask(t.Context()); err != nil || x.node.Cert() == before {
		t.Fatalf("renewal: %v", err)
	}
	good := x.node.Cert()
	ca.Rotate()
	ca.Retire() // the controller has lost its root: it does not know the certificate, and nor would we know it
	if err := x.node.ask(t.Context()); err == nil {
		t.Fatal("renewed by a controller that does not know us")
	}
	if !x.node.Cert().Leaf.Equal(good.Leaf) {
		t.Error("the good certificate is gone")
	}
	ca.SetToken("second")
	if err := os.WriteFile(x.token, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := x.node.ask(t.Context()); err != nil || x.node.Cert() == good {
		t.Fatalf("not joined by the new token: %v", err)
	}
	ca.Refuse(nodeURI, codes.Unauthenticated)
	n := ca.Count(nodeURI)
	if err := x.node.ask(t.Context()); err == nil {
		t.Fatal("renewed though refused")
	}
	if got := ca.Count(nodeURI); got != n+1 {
		t.Errorf("%d requests, want 1: the token was used before", got-n)
	}
}

func TestRetryAfter(t *testing.T) {
	denied := statusError(codes.PermissionDenied)
	for _, tt := range []struct {
		fails    int
		err      error
		life     time.Duration
		min, max time.Duration
	}{
		{1, denied, 0, 800 * time.Millisecond, 1200 * time.Millisecond},
		{4, denied, 24 * time.Hour, 6400 * time.Millisecond, 9600 * time.Millisecond},
		{1000, denied, 24 * time.Hour, 120 * time.Second, 180 * time.Second},
		{1000, statusError(codes.Unavailable), 24 * time.Hour, 12 * time.Second, 18 * time.Second},
		{1, denied, 10 * time.Second, 160 * time.Millisecond, 240 * time.Millisecond},
		{1000, denied, 10 * time.Second, 800 * time.Millisecond, 1200 * time.Millisecond},
		{1, denied, time.Millisecond, 8 * time.Millisecond, 12 * time.Millisecond},
	} {
		if d := retryAfter(tt.fails, tt.err, tt.life); d < tt.min || d > tt.max {
			t.Errorf("after %d failures (%v) with a life of %s: %s, want %s to %s", tt.fails, tt.err, tt.life, d, tt.min, tt.max)
		}
	}
}
