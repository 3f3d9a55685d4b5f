package ca

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

func (c *CA) mustIssue(t *testing.T, uri string, life time.Duration) *identity.Cert {
	t.Helper()
	key, _, err := identity.NewCSR(uri)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := c.Issue(key.Public(), Names{URI: uri}, life)
	if err != nil {
		t.Fatal(err)
	}
	return certOf(t, chain, key)
}

func TestRootIsMadeOnceAndKept(t *testing.T) {
	dir, clk := t.TempDir(), newClock()
	first := openCA(t, dir, clk, time.Hour)
	again := openCA(t, dir, clk, time.Hour)
	if first.Bundle() != again.Bundle() {
		t.Error("another root at the second start")
	}
	for name, mode := range map[string]os.FileMode{StateFile: 0o600, bundleFile: 0o644} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, bundleFile)); err != nil || string(b) != first.Bundle() {
		t.Errorf("%s is not the bundle: %v", bundleFile, err)
	}
	root := first.Roots()[0]
	if !root.IsCA || root.NotAfter.Sub(clk.now()) < 9*365*24*time.Hour {
		t.Errorf("root: CA %v, until %s", root.IsCA, root.NotAfter)
	}
}

func TestLeaf(t *testing.T) {
	clk := newClock()
	c := openCA(t, t.TempDir(), clk, time.Hour)
	clk.pass(time.Hour)
	for _, tc := range []struct{ asked, want time.Duration }{{0, time.Hour}, {time.Minute, time.Minute}, {100 * time.Hour, time.Hour}} {
		got := c.mustIssue(t, "spiffe://cluster.local/ns/a/sa/b", tc.asked)
		l := got.Leaf
		if life := l.NotAfter.Sub(clk.now()); life != tc.want {
			t.Errorf("asked for %s: %s", tc.asked, life)
		}
		if !l.NotBefore.Equal(clk.now().Add(-time.Minute)) {
			t.Errorf("begins %s, now is %s", l.NotBefore, clk.now())
		}
		if l.IsCA || l.KeyUsage != x509.KeyUsageDigitalSignature || len(l.ExtKeyUsage) != 2 || len(l.URIs) != 1 || l.Subject.String() != "" {
			t.Errorf("leaf %+v", l)
		}
		if err := verify(got, c.Roots(), clk.now()); err != nil {
			t.Error(err)
		}
	}
}

func TestLeafIsWithinTheCAsLife(t *testing.T) {
	clk := newClock()
	c := openCA(t, t.TempDir(), clk, time.Hour)
	root := c.Roots()[0]
	if l := c.mustIssue(t, "spiffe://cluster.local/ns/a/sa/b", 0).Leaf; l.NotBefore.Before(root.NotBefore) {
		t.Errorf("begins %s, the root %s", l.NotBefore, root.NotBefore)
	}
	clk.pass(root.NotAfter.Sub(clk.now()) - time.Minute)
	if l := c.mustIssue(t, "spiffe://cluster.local/ns/a/sa/b", 0).Leaf; !l.NotAfter.Equal(root.NotAfter) {
		t.Errorf("ends %s, the root %s", l.NotAfter, root.NotAfter)
	}
	clk.pass(time.Hour)
	key, _, err := identity.NewCSR("spiffe://cluster.local/ns/a/sa/b")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Issue(key.Public(), Names{URI: "spiffe://cluster.local/ns/a/sa/b"}, 0); err == nil {
		t.Error("an expired CA signs")
	}
}

func TestRotation(t *testing.T) {
	dir, clk := t.TempDir(), newClock()
	c := openCA(t, dir, clk, time.Hour)
	old := c.Roots()
	before := c.mustIssue(t, "spiffe://cluster.local/ns/a/sa/old", 0)
	step := func(name string, force bool) {
		t.Helper()
		if err := c.Rotate(name, force); err != nil {
			t.Fatal(err)
		}
		c = openCA(t, dir, clk, time.Hour) // every step is kept
	}
	refused := func(name string) {
		t.Helper()
		if err := c.Rotate(name, false); !errors.Is(err, ErrRotation) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("activate")
	refused("finish")
	refused("nonsense")

	step("prepare", false)
	refused("prepare")
	both := c.Roots()
	prepared := c.mustIssue(t, "spiffe://cluster.local/ns/a/sa/b", 0)
	if len(both) != 2 || len(prepared.RootCerts) != 2 {
		t.Fatalf("%d roots, %d in an answer", len(both), len(prepared.RootCerts))
	}
	if err := verify(prepared, old, clk.now()); err != nil {
		t.Errorf("prepared: the old root does not sign: %v", err)
	}

	clk.pass(10 * time.Minute)
	step("activate", false)
	active := c.mustIssue(t, "spiffe://cluster.local/ns/a/sa/b", 0)
	for name, roots := range map[string][]*x509.Certificate{"the old root": old, "both": both, "the new root": both[1:]} {
		if err := verify(active, roots, clk.now()); err != nil {
			t.Errorf("activated: who knows %s cannot follow: %v", name, err)
		}
	}
	if err := verify(before, active.RootCerts, clk.now()); err != nil {
		t.Errorf("activated: an old leaf is not trusted: %v", err)
	}

	clk.pass(59 * time.Minute)
	refused("finish")
	clk.pass(time.Minute)
	step("finish", false)
	last := c.mustIssue(t, "spiffe://cluster.local/ns/a/sa/b", 0)
	if len(last.RootCerts) != 1 || len(last.TLS.Certificate) != 1 || verify(last, both[1:], clk.now()) != nil {
		t.Errorf("finished: %d roots, chain of %d", len(last.RootCerts), len(last.TLS.Certificate))
	}
	if b, err := os.ReadFile(filepath.Join(dir, bundleFile)); err != nil || string(b) != c.Bundle() {
		t.Errorf("%s was not renewed: %v", bundleFile, err)
	}
}

func TestFinishCountsTheLongestLifeAndYieldsToForce(t *testing.T) {
	dir, clk := t.TempDir(), newClock()
	openCA(t, dir, clk, 48*time.Hour) // leaves of two days are about
	c := openCA(t, dir, clk, time.Hour)
	for _, s := range []string{"prepare", "activate"} {
		if err := c.Rotate(s, false); err != nil {
			t.Fatal(err)
		}
	}
	clk.pass(47 * time.Hour)
	if err := c.Rotate("finish", false); !errors.Is(err, ErrRotation) {
		t.Errorf("finished while leaves of two days live: %v", err)
	}
	if at := c.Status().FinishAt; !at.Equal(clk.now().Add(time.Hour)) {
		t.Errorf("can be finished %s", at)
	}
	if err := c.Rotate("finish", true); err != nil {
		t.Errorf("by force: %v", err)
	}
}

func TestOwnCA(t *testing.T) {
	clk := newClock()
	top, err := newRoot("corp", clk.now())
	if err != nil {
		t.Fatal(err)
	}
	mid, err := newRoot("mid", clk.now())
	if err != nil {
		t.Fatal(err)
	}
	between, err := top.certify(mid.cert)
	if err != nil {
		t.Fatal(err)
	}
	key, err := encodeKey(mid.key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, OwnCert, identity.EncodeCerts(list(between)), 0o644)
	write(t, dir, OwnKey, key, 0o600)
	write(t, dir, OwnRoots, identity.EncodeCerts(list(top.cert)), 0o644)
	c := openCA(t, dir, clk, time.Hour)
	got := c.mustIssue(t, "spiffe://cluster.local/ns/a/sa/b", 0)
	if len(got.TLS.Certificate) != 2 {
		t.Errorf("chain of %d, want the intermediate too", len(got.TLS.Certificate))
	}
	if err := verify(got, list(top.cert), clk.now()); err != nil {
		t.Error(err)
	}
	if err := c.Rotate("prepare", true); !errors.Is(err, ErrRotation) {
		t.Errorf("the user's CA was rotated: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, StateFile)); err == nil {
		t.Error("a root of our own was made beside the user's")
	}
	if st := c.Status(); !st.Own || len(st.Roots) != 1 || !st.Roots[0].Signs {
		t.Errorf("status %+v", st)
	}
}

func TestBadOwnCAIsRefused(t *testing.T) {
	clk := newClock()
	a, err := newRoot("a", clk.now())
	if err != nil {
		t.Fatal(err)
	}
	b, err := newRoot("b", clk.now())
	if err != nil {
		t.Fatal(err)
	}
	keyA, err := encodeKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyB, err := encodeKey(b.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := (&issuer{signer: a}).issue(a.key.Public(), Names{URI: "spiffe://x/ns/a/sa/b"}, time.Hour, clk.now())
	if err != nil {
		t.Fatal(err)
	}
	pemA, pemB := identity.EncodeCerts(list(a.cert)), identity.EncodeCerts(list(b.cert))
	for _, tc := range []struct {
		name, cert, key, roots string
		mode                   os.FileMode
		want                   string
	}{
		{"another key", pemA, keyB, pemA, 0o600, "not the certificate's"},
		{"roots that it does not lead to", pemA, keyA, pemB, 0o600, "does not lead to the roots"},
		{"a leaf", identity.EncodeCerts(list(leaf)), keyA, pemA, 0o600, "no CA's"},
		{"a key that others can read", pemA, keyA, pemA, 0o644, "lets others read"},
		{"no PEM", "x", keyA, pemA, 0o600, "PEM"},
		{"no key", pemA, "x", pemA, 0o600, "PEM"},
	} {
		dir := t.TempDir()
		write(t, dir, OwnCert, tc.cert, 0o644)
		write(t, dir, OwnKey, tc.key, tc.mode)
		write(t, dir, OwnRoots, tc.roots, 0o644)
		if _, err := Open(Options{Dir: dir, TrustDomain: td, Now: clk.now}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestCorruptStateIsAnErrorNotANewRoot(t *testing.T) {
	for _, content := range []string{"", "{", "{}", `{"step":"prepared","roots":[]}`, `{"step":"steady","roots":[{"cert":"x","key":"y"}]}`} {
		dir := t.TempDir()
		write(t, dir, StateFile, content, 0o600)
		if _, err := Open(Options{Dir: dir, TrustDomain: td}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", content, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, StateFile)); err != nil || string(b) != content {
			t.Errorf("%q was overwritten", content)
		}
	}
}
