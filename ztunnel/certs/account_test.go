package certs

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/certs/certstest"
)

// withAccount is a manager whose proxy shows a token at each call.
func withAccount(t *testing.T, ca *certstest.CA, life time.Duration) *fixture {
	t.Helper()
	ca.SetLife(life)
	x := &fixture{ca: ca, token: filepath.Join(t.TempDir(), "token"), expiry: map[string]time.Time{}}
	x.write(t, "first\n")
	m, err := New(Config{
		Provider: &Account{Link: linkTo(ca, x.now), TokenFile: x.token, ClusterID: "c1"},
		Now:      x.now, Log: slog.New(slog.DiscardHandler),
		OnRoots: func() { x.mu.Lock(); x.roots++; x.mu.Unlock() },
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Manager = m
	t.Cleanup(m.Close)
	return x
}

// write replaces the token as the kubelet does.
func (x *fixture) write(t *testing.T, token string) {
	t.Helper()
	if err := os.WriteFile(x.token+".new", []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(x.token+".new", x.token); err != nil {
		t.Fatal(err)
	}
}

// run starts the manager alone: there is no certificate of the node.
func (x *fixture) run(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); x.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
}

func TestATokenIsReadAtEachCall(t *testing.T) {
	ca := certstest.Start(t, td)
	ca.SetBearer("first")
	x := withAccount(t, ca, time.Hour)
	x.run(t)
	x.Hold(idOf("web"))
	x.await(t, idOf("web"))
	ca.SetBearer("second")
	x.write(t, "second")
	x.Hold(idOf("orders"))
	x.await(t, idOf("orders"))
	if all := x.List(); len(all) != 2 {
		t.Errorf("without a node's certificate there are %d", len(all))
	}
	ca.Retire() // the file of roots changes too
	x.Hold(idOf("late"))
	x.await(t, idOf("late"))
}

func TestWithoutATokenNothingIsAskedFor(t *testing.T) {
	ca := certstest.Start(t, td)
	ca.SetBearer("first")
	x := withAccount(t, ca, time.Hour)
	if err := os.Remove(x.token); err != nil {
		t.Fatal(err)
	}
	x.run(t)
	x.Hold(idOf("web"))
	eventually(t, "the failure shows", func() bool { l := x.List(); return len(l) == 1 && l[0].Err != nil })
	if n := ca.Count(idOf("web").String()); n != 0 {
		t.Errorf("asked %d times without a token", n)
	}
	x.write(t, "first")
	x.Kick()
	x.await(t, idOf("web"))
}

func TestASuccessorInheritsWithoutANodeCertificate(t *testing.T) {
	ca := certstest.Start(t, td)
	ca.SetBearer("first")
	old := withAccount(t, ca, time.Hour)
	old.run(t)
	old.Hold(idOf("web"))
	first := old.await(t, idOf("web"))
	state, err := old.Inherit(nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the state is whole", func() bool { b, err := readVault(state); return err == nil && len(b) > 100 })
	ca.SetBearer("nobody")
	next := withAccount(t, ca, time.Hour)
	dup, err := os.Open("/proc/self/fd/" + itoa(state.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.Inherit(dup); err != nil {
		t.Fatal(err)
	}
	next.Hold(idOf("web"))
	if got, _ := next.Get(idOf("web")); got == nil || !got.Leaf.Equal(first.Leaf) {
		t.Errorf("inherited %v", got)
	}
}

func itoa(fd uintptr) string { return strconv.FormatUint(uint64(fd), 10) }
