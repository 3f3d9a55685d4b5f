package lab

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab/app"
)

func TestCaptureSeesPlaintextOnTheFabric(t *testing.T) {
	l := manual(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	client, server := addPod(t, l, "client", "node-a"), addPod(t, l, "server", "node-b")
	if _, err := appOf(t, server).Listen(ctx, app.ListenArgs{Kind: app.Echo, Port: 80}); err != nil {
		t.Fatal(err)
	}
	for _, v6 := range []bool{false, true} {
		secret := fmt.Appendf(nil, "the secret of v6=%v", v6)
		c, err := l.Node("node-a").CaptureUplink()
		if err != nil {
			t.Fatal(err)
		}
		x, err := appOf(t, client).To(ctx, server.At(v6, 80))
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Ping(ctx, bytes.Repeat(secret, 500)...); err != nil {
			t.Fatal(err)
		}
		tr, err := c.Stop()
		if err != nil {
			t.Fatal(err)
		}
		if !tr.Contains(secret) || tr.Contains([]byte("another secret")) {
			t.Error("the capture does not show what was said")
		}
		if n := len(tr.Port(80).Flows()); n != 2 {
			t.Errorf("%d flows: %+v", n, tr.Flows())
		}
		if err := tr.Port(80).OnlyTLS(); err == nil {
			t.Error("plaintext passed for TLS")
		}
	}
}
