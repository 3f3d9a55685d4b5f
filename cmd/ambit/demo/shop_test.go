package demo

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestMain lets this binary be the pods' program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "lab-app" {
		os.Exit(app.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// The steps before the label need no component of the mesh.
func TestStepsBeforeTheLabel(t *testing.T) {
	if err := lab.Unusable(); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	l, err := lab.New(ctx, lab.Options{Manual: true, App: []string{"/proc/self/exe", "lab-app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := build(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	saw, err := s.plaintext(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(saw, needle) || s.direct.across <= 0 || s.direct.same <= 0 {
		t.Errorf("saw %q, latencies %+v", saw, s.direct)
	}
	if _, err := s.alive(ctx); err != nil {
		t.Error(err)
	}
	if _, err := s.encrypted(expired(t)); err == nil {
		t.Error("the step that wants encryption held without a mesh")
	}
	if err := s.shut(ctx, s.payments[1]); err != nil {
		t.Fatal(err)
	}
	if err := ask(ctx, s.orders, s.payments[1].At(false, port)); err == nil {
		t.Error("payments-2 answers after it was shut")
	}
}

// expired ends soon, so that waiting steps give up.
func expired(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestSortTellsFailedConnectsFromBroken(t *testing.T) {
	refused, broken := sort(map[string]int{"dial: connection refused": 2, "dial: i/o timeout": 1, "read: connection reset by peer": 4, "EOF": 1})
	if refused != 3 || broken != 5 {
		t.Errorf("refused %d, broken %d", refused, broken)
	}
}
