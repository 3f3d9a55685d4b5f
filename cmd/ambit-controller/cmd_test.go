package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/controller/join"
)

// command runs the program with arguments and returns what it printed.
func command(ctx context.Context, args ...string) (string, error) {
	c := rootCmd()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(io.Discard) // notes are for people
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	return out.String(), err
}

func TestBadFlagsAreNamed(t *testing.T) {
	dir := t.TempDir()
	src := "dir:" + dir
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{}, "--source"},
		{[]string{"--source", "ftp:x"}, "want dir:<path>"},
		{[]string{"--source", "kube:" + filepath.Join(dir, "none")}, "--source kube"},
		{[]string{"--source", "kube", "--ca-secret", "x"}, "--ca-secret"},
		{[]string{"--source", "kube", "--lease", "a/b/c"}, "--lease"},
		{[]string{"--source", "kube", "--root-configmap", "x"}, "--ca-secret"},
		{[]string{"--source", "kube", "--auth", "ldap"}, "--auth"},
		{[]string{"--source", src, "--auth", "kube"}, "--source kube"},
		{[]string{"--source", src, "--admin-addr", "0.0.0.0:1"}, "--admin-addr"},
		{[]string{"--source", src, "--log-level", "loud"}, "--log-level"},
		{[]string{"--source", src, "--leaf-life", "0s"}, "--leaf-life"},
		{[]string{"--source", src, "--state-dir", ""}, "StateDir"},
		{[]string{"--source", src, "--state-dir", filepath.Join(dir, "s"), "--trust-domain", "A B"}, "trust domain"},
		{[]string{"--source", src, "--state-dir", filepath.Join(dir, "s"), "--server-name", "a b"}, `server name "a b"`},
		{[]string{"--source", src, "--state-dir", filepath.Join(dir, "s"), "--listen", "nowhere"}, "listen"},
		{[]string{"token", "create", "--state-dir", filepath.Join(dir, "s")}, "--node"},
		{[]string{"token", "create", "--state-dir", filepath.Join(dir, "s"), "--node", "a/b"}, "not a node's name"},
		{[]string{"token", "create", "--state-dir", filepath.Join(dir, "s"), "--node", "a", "--ttl", "-1s"}, "not positive"},
		{[]string{"root", "rotate", "--state-dir", dir}, "--step"},
		{[]string{"root", "rotate", "--state-dir", dir, "--step", "prepare"}, "does it run?"},
		{[]string{"root", "show", "--state-dir", filepath.Join(dir, "none")}, "show root"},
		{[]string{"nonsense"}, "unknown command"},
	} {
		if _, err := command(t.Context(), tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.args, err, tc.want)
		}
	}
}

func TestTokenRootAndRotationOfARunningController(t *testing.T) {
	dir := t.TempDir()
	state, objects := filepath.Join(dir, "state"), filepath.Join(dir, "objects")
	if err := os.Mkdir(objects, 0o755); err != nil {
		t.Fatal(err)
	}
	early, err := command(t.Context(), "token", "create", "--state-dir", state, "--node", "n1")
	if err != nil { // before there is a controller
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := command(ctx, "--source", "dir:"+objects, "--state-dir", state, "--listen", "127.0.0.1:0", "--log-level", "error")
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("controller: %v", err)
		}
	})
	rotate := func(step string) (out string, err error) {
		return command(t.Context(), "root", "rotate", "--state-dir", state, "--step", step)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err = rotate("prepare"); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	late, err := command(t.Context(), "token", "create", "--state-dir", state, "--node", "n2")
	if err != nil {
		t.Fatal(err)
	}
	tokens := join.Open(state, nil)
	for node, token := range map[string]string{"n1": early, "n2": late} {
		if err := tokens.Check(strings.TrimSpace(token), node); err != nil {
			t.Errorf("token of %s: %v", node, err)
		}
	}
	if out, err := command(t.Context(), "root", "show", "--state-dir", state); err != nil || strings.Count(out, "BEGIN CERTIFICATE") != 2 {
		t.Errorf("bundle: %v\n%s", err, out)
	}
	if _, err := rotate("finish"); err == nil || !strings.Contains(err.Error(), "prepare, then activate, then finish") {
		t.Errorf("finish too early: %v", err)
	}
	if out, err := rotate("activate"); err != nil || !strings.Contains(out, `"activated"`) {
		t.Errorf("activate: %v\n%s", err, out)
	}
}
