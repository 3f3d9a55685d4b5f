package server

import (
	"crypto/fips140"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestKind(t *testing.T) {
	if os.Getenv("SERVER_TEST_FIPS") != "" && !fips140.Enabled() {
		t.Fatal("not in FIPS 140-3 mode")
	}
	for asked, want := range map[EngineKind]EngineKind{"": Std, Std: Std, Loop: Loop} {
		var log syncBuffer
		got := Config{Engine: asked, Log: slog.New(slog.NewTextHandler(&log, nil))}.kind()
		said := strings.Contains(log.String(), "FIPS")
		if fips140.Enabled() {
			if got != Std || said != (asked == Loop) {
				t.Errorf("%q in FIPS mode: %q, log %q", asked, got, log.String())
			}
		} else if got != want || said {
			t.Errorf("%q: %q, log %q", asked, got, log.String())
		}
	}
}

// TestKindFIPS runs TestKind in FIPS 140-3 mode, which a process is in from its start or never.
func TestKindFIPS(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestKind$")
	cmd.Env = append(os.Environ(), "SERVER_TEST_FIPS=1", "GODEBUG=fips140=on")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestUnknownEngine(t *testing.T) {
	ca, _, dir, _ := newWorld(t)
	cfg := configOf(t, ca, dir, "good")
	cfg.Engine, cfg.Log = "fast", slog.New(slog.DiscardHandler)
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), `engine "fast"`) {
		t.Errorf("%v", err)
	}
}
