package cni

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ambitmesh/ambit/internal/cni"
)

// host is a node's directories with a running installer.
type host struct {
	*testing.T
	Paths
	inst *Installer
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{T: t, Paths: Paths{BinDir: filepath.Join(dir, "bin"), ConfDir: filepath.Join(dir, "conf"), Dir: filepath.Join(dir, "run", "cni"), Plugin: filepath.Join(dir, "plugin")}}
	for _, d := range []string{h.BinDir, h.ConfDir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.write(h.Plugin, "the plugin", 0o755)
	return h
}

func (h *host) start() {
	h.Helper()
	var err error
	h.inst, err = NewInstaller(h.Paths, slog.New(slog.DiscardHandler), time.Now, prometheus.NewRegistry())
	if err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.inst.Run(ctx); err != nil {
			h.Error(err)
		}
	})
	h.Cleanup(func() { cancel(); wg.Wait() })
}

func (h *host) write(path, text string, mode os.FileMode) {
	h.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		h.Fatal(err)
	}
}

func (h *host) conf(name string) string { return filepath.Join(h.ConfDir, name) }

func (h *host) text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

func (h *host) until(what string, ok func() bool) {
	h.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("never: %s", what)
		}
	}
}

func (h *host) chained(name string) func() bool {
	return func() bool { return strings.Contains(h.text(h.conf(name)), `"type":"ambit-cni"`) }
}

func TestInstall(t *testing.T) {
	h := newHost(t)
	h.write(h.conf("10-lab.conflist"), lab, 0o600)
	h.write(h.conf("20-other.conflist"), lab, 0o600)
	h.start()
	time.Sleep(50 * time.Millisecond)
	if h.chained("10-lab.conflist")() {
		t.Error("chained before there is a list: nobody would be held")
	}
	h.inst.List([]string{"shop", "bank"})
	h.until("the chain has the plugin", h.chained("10-lab.conflist"))
	fi, err := os.Stat(h.conf("10-lab.conflist"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if h.chained("20-other.conflist")() {
		t.Error("a configuration that is not used was changed")
	}
	if fi, err := os.Stat(filepath.Join(h.BinDir, cni.Type)); err != nil || fi.Mode().Perm() != 0o755 {
		t.Errorf("plugin: %v, %v", fi, err)
	}
	for _, list := range []string{filepath.Join(h.Dir, cni.ListName), h.conf(savedList)} {
		if got := h.text(list); got != "bank\nshop\n" {
			t.Errorf("list %q", got)
		}
	}
	h.inst.List(nil)
	if got := h.text(filepath.Join(h.Dir, cni.ListName)); got != "" {
		t.Errorf("list %q after the last namespace left", got)
	}
}

// TestPrimaryRewritesItsFile: a primary's own agent does so at each of its starts.
func TestPrimaryRewritesItsFile(t *testing.T) {
	h := newHost(t)
	h.write(h.conf("10-lab.conflist"), lab, 0o644)
	h.start()
	h.inst.List(nil)
	h.until("installed", h.chained("10-lab.conflist"))
	for range 3 {
		h.write(h.conf("10-lab.conflist"), lab, 0o644)
		h.until("restored", h.chained("10-lab.conflist"))
	}
	h.until("restores are counted", func() bool { return testutil.ToFloat64(h.inst.restores) == 3 })
	if lost := testutil.ToFloat64(h.inst.missing); lost <= 0 || lost > 60 {
		t.Errorf("time without: %v s", lost)
	}
	before := strings.Replace(lab, "1500", "1400", 1)
	h.write(h.conf("05-new.conflist"), before, 0o644) // another primary, which goes first
	h.until("the new one is chained", h.chained("05-new.conflist"))
	if err := os.Remove(filepath.Join(h.BinDir, cni.Type)); err != nil {
		t.Fatal(err)
	}
	h.until("the binary is restored", func() bool { return h.text(filepath.Join(h.BinDir, cni.Type)) == "the plugin" })
}

func TestPrimaryComesLater(t *testing.T) {
	h := newHost(t)
	h.write(h.conf("99-loopback.conf"), `{"cniVersion":"0.3.1","name":"lo","type":"loopback"}`, 0o644)
	h.start()
	h.inst.List(nil)
	h.until("it is looked for", func() bool { return h.text(filepath.Join(h.BinDir, cni.Type)) != "" })
	if testutil.ToFloat64(h.inst.chained) != 0 {
		t.Error("chained after nothing")
	}
	h.write(h.conf("10-lab.conflist"), lab, 0o644)
	h.until("chained", h.chained("10-lab.conflist"))
}

func TestSingleConfigurationIsWrapped(t *testing.T) {
	const one = `{ "cniVersion": "0.3.1", "name": "old", "type": "bridge" }`
	h := newHost(t)
	h.write(h.conf("10-old.conf"), one, 0o644)
	h.start()
	h.inst.List(nil)
	h.until("a list stands in", h.chained("10-old.conflist"))
	h.until("it is the only one that is used", func() bool { n, err := configs(h.ConfDir); return err == nil && len(n) == 1 })
	h.write(h.conf("10-old.conf"), strings.Replace(one, "old", "newer", 1), 0o644)
	h.until("a rewritten one is wrapped again", func() bool { return strings.Contains(h.text(h.conf("10-old.conflist")), "newer") })
	h.until("and put aside", func() bool { return h.text(h.conf("10-old.conf")) == "" })
	if err := h.inst.Uninstall(); err != nil {
		t.Fatal(err)
	}
	h.inst.List([]string{"late"})
	left, err := os.ReadDir(h.ConfDir)
	if err != nil || len(left) != 1 || !strings.Contains(h.text(h.conf("10-old.conf")), "newer") {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestUninstall leaves every byte as it was.
func TestUninstall(t *testing.T) {
	const one = `{ "cniVersion": "0.3.1", "name": "old", "type": "bridge" }`
	h := newHost(t)
	files := map[string]string{"10-lab.conflist": lab, "20-old.conf": one, "30-bad.conflist": "{", "notes.txt": "x"}
	for name, text := range files {
		h.write(h.conf(name), text, 0o644)
	}
	for _, name := range []string{"10-lab.conflist", "20-old.conf"} { // each was the first once
		dir := filepath.Join(h.ConfDir, "..", "alone")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(h.conf(name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, changed, err := chainIn(dir, h.Config()); err != nil || !changed {
			t.Fatal(err)
		}
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range left {
			if err := os.Rename(filepath.Join(dir, e.Name()), h.conf(e.Name())); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyBinary(h.Plugin, h.BinDir); err != nil {
		t.Fatal(err)
	}
	if found, err := Installed(h.Paths); err != nil || len(found) != 3 {
		t.Errorf("installed: %v, %v", found, err)
	}
	for range 2 {
		if err := Uninstall(h.Paths); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		if got := h.text(h.conf(name)); got != text {
			t.Errorf("%s is %q, was %q", name, got, text)
		}
	}
	left, err := os.ReadDir(h.ConfDir)
	if err != nil || len(left) != len(files) {
		t.Errorf("left: %v, %v", left, err)
	}
	if found, err := Installed(h.Paths); err != nil || len(found) != 0 {
		t.Errorf("still installed: %v, %v", found, err)
	}
}

func TestDirectoriesThatAreNotThere(t *testing.T) {
	h := newHost(t)
	p := h.Paths
	p.ConfDir = filepath.Join(h.ConfDir, "missing")
	if err := Uninstall(p); err != nil {
		t.Error(err)
	}
	if _, _, err := chainIn(p.ConfDir, p.Config()); err == nil {
		t.Error("chained in a directory that is not there")
	}
	if err := os.Mkdir(h.conf("10-dir.conflist"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := chainIn(h.ConfDir, h.Config()); err == nil {
		t.Error("chained in a directory")
	}
	h.write(h.conf("20-big.conflist"), string(bytes.Repeat([]byte(" "), maxConfig+1)), 0o644)
	if _, _, err := chainIn(h.ConfDir, h.Config()); err == nil {
		t.Error("chained in a file without end")
	}
}
