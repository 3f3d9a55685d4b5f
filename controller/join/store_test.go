package join

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newToken(t *testing.T, s *Store, node string) string {
	t.Helper()
	token, err := s.Create(node, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokenAdmitsItsNodeOnce(t *testing.T) {
	s := Open(t.TempDir(), nil)
	token := newToken(t, s, "n1")
	if err := s.Check(token, "n2"); !errors.Is(err, ErrNode) {
		t.Errorf("of another node: %v", err)
	}
	if err := s.Use(token, "n2"); !errors.Is(err, ErrNode) {
		t.Errorf("used by another node: %v", err)
	}
	if err := s.Check(token, "n1"); err != nil {
		t.Errorf("checked: %v", err)
	}
	if err := s.Use(token, "n1"); err != nil {
		t.Errorf("used once: %v", err)
	}
	if err := s.Use(token, "n1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("used twice: %v", err)
	}
}

func TestTokenExpires(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	s := Open(t.TempDir(), func() time.Time { return now })
	token := newToken(t, s, "n1")
	now = now.Add(time.Hour)
	if err := s.Use(token, "n1"); !errors.Is(err, ErrExpired) {
		t.Errorf("after its life: %v", err)
	}
	if n, err := s.Len(); n != 0 || err != nil {
		t.Errorf("%d tokens can be used, %v", n, err)
	}
	newToken(t, s, "n2")
	b, err := os.ReadFile(s.path())
	if err != nil || strings.Contains(string(b), `"n1"`) {
		t.Errorf("an expired token is kept: %s %v", b, err)
	}
}

func TestForgedTokensAreUnknown(t *testing.T) {
	s := Open(t.TempDir(), nil)
	token := newToken(t, s, "n1")
	flip := []byte(token)
	flip[len(flip)-1] ^= 1
	for _, bad := range []string{"", "x", "ambit--", string(flip), token + "0", strings.ToUpper(token), token[:len(token)-1], strings.Repeat("a-", 1<<16)} {
		if err := s.Check(bad, "n1"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
}

func TestFileHoldsNoTokenAndIsPrivate(t *testing.T) {
	s := Open(t.TempDir(), nil)
	token := newToken(t, s, "n1")
	b, err := os.ReadFile(s.path())
	if err != nil {
		t.Fatal(err)
	}
	if _, secret, ok := split(token); !ok || strings.Contains(string(b), secret) {
		t.Errorf("the file holds the secret of %s:\n%s", token, b)
	}
	if st, err := os.Stat(s.path()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestOfManyAtOnceOneSucceeds(t *testing.T) {
	dir := t.TempDir()
	token := newToken(t, Open(dir, nil), "n1")
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() { // a store of its own, as another process has
			if Open(dir, nil).Use(token, "n1") == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d used one token", won.Load())
	}
}

func TestBadNamesAndLives(t *testing.T) {
	s := Open(t.TempDir(), nil)
	for _, node := range []string{"", "a/b", "a b", "..", strings.Repeat("x", 300)} {
		if _, err := s.Create(node, time.Hour); err == nil {
			t.Errorf("a token for node %q", node)
		}
	}
	if _, err := s.Create("n1", 0); err == nil {
		t.Error("a token without a life")
	}
}

func TestCorruptFileIsAnErrorNotAnEmptyList(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tokens.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Open(dir, nil)
	if err := s.Check("ambit-0000000000000000-"+strings.Repeat("0", 64), "n1"); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("check: %v", err)
	}
	if _, err := s.Create("n1", time.Hour); err == nil {
		t.Error("the corrupt file was replaced")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("ambit-0000000000000000-" + strings.Repeat("0", 64))
	f.Add("ambit-0-0")
	f.Add("--")
	f.Fuzz(func(t *testing.T, token string) {
		s := &Store{now: time.Now}
		all := []record{{ID: "0000000000000000", Node: "n", Hash: hash(strings.Repeat("1", 64)), Expires: time.Now().Add(time.Hour)}}
		if _, err := s.find(all, token, "n"); err == nil && token != "ambit-0000000000000000-"+strings.Repeat("1", 64) {
			t.Errorf("%q was accepted", token)
		}
	})
}
