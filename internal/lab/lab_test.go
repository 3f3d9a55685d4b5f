package lab

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestMain lets this binary be the pods' program, so that these tests need no other.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "lab-app" {
		os.Exit(app.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func manual(t *testing.T) *Lab {
	t.Helper()
	if err := Unusable(); err != nil {
		t.Skip(err)
	}
	l, err := New(t.Context(), Options{Manual: true, App: []string{"/proc/self/exe", "lab-app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if left := Leftovers(l.Name()); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	return l
}

func addPod(t *testing.T, l *Lab, name, node string) *Pod {
	t.Helper()
	p, err := l.AddPod(t.Context(), PodSpec{Namespace: "shop", Name: name, Node: node})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func appOf(t *testing.T, p *Pod) *App {
	t.Helper()
	a, err := p.App()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPodsReachEachOtherWithTheirOwnAddresses(t *testing.T) {
	l := manual(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	client := addPod(t, l, "client", "node-a")
	for _, server := range []*Pod{addPod(t, l, "near", "node-a"), addPod(t, l, "far", "node-b")} {
		if _, err := appOf(t, server).Listen(ctx, app.ListenArgs{Kind: app.Banner, Port: 80, Name: server.Name}); err != nil {
			t.Fatal(err)
		}
		for _, v6 := range []bool{false, true} {
			c, err := appOf(t, client).To(ctx, server.At(v6, 80))
			if err != nil {
				t.Fatal(err)
			}
			b, err := c.Banner(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if b.Remote != c.Local || b.Local != server.At(v6, 80) || b.Name != server.Name {
				t.Errorf("server saw %+v, client is %s", b, c.Local)
			}
			if err := c.Ping(ctx); err != nil {
				t.Error(err)
			}
		}
	}
}
