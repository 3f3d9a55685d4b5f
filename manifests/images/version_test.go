package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// clone is a git repository with what tools/version.sh reads.
type clone struct {
	*testing.T
	dir string
}

func (c clone) run(name string, args ...string) string {
	c.Helper()
	cmd := exec.CommandContext(c.Context(), name, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (c clone) version() string { c.Helper(); return c.run("sh", "tools/version.sh") }

// TestOneCommitHasOneVersion whatever tags a clone has: the version is in the programs, so in the digests.
func TestOneCommitHasOneVersion(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	a, b := clone{t, t.TempDir()}, clone{t, t.TempDir()}
	for _, file := range []string{"tools/version.sh", "manifests/base/kustomization.yaml"} {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(a.dir, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a.run("git", "init", "-q")
	a.run("git", "add", ".")
	a.run("git", "commit", "-q", "-m", "x")
	b.run("git", "clone", "-q", a.dir, ".")
	a.run("git", "tag", "v9.9.9")
	b.run("git", "config", "core.abbrev", "20")
	if x, y := a.version(), b.version(); x != y || !regexp.MustCompile(`^v\d+\.\d+\.\d+(-dev)?-[0-9a-f]{12}$`).MatchString(x) {
		t.Errorf("two clones of one commit: %q and %q", x, y)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "tools/version.sh"), []byte("# other\n"+string(mustRead(t, "../../tools/version.sh"))), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := b.version(); got != a.version()+"-dirty" {
		t.Errorf("an edited tree is %q", got)
	}
	if text := mustRead(t, "../../Makefile"); !strings.Contains(string(text), "\nVERSION ?= $(shell sh tools/version.sh)\n") {
		t.Error("the Makefile does not ask tools/version.sh")
	}
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
