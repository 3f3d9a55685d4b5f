package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambitmesh/ambit/agent"
)

func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := rootCmd()
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestFlagsThatCannotBe(t *testing.T) {
	for args, want := range map[string]string{
		"":                                   "--source",
		"--source dir:":                      "--source",
		"--source kube:":                     "--source",
		"--source kube:/missing":             "/missing",
		"cni uninstall":                      "--cni-bin-dir",
		"cni uninstall --cni-bin-dir /x":     "belong together",
		"--source kubernetes":                "--source",
		"--source dir:/tmp --log-level loud": "--log-level",
		"--source dir:/tmp --startup half":   `--startup "half": want deny or open`,
		"extra":                              "unknown command",
		"cleanup extra":                      "unknown command",
	} {
		if _, err := execute(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestStartupHoldsUnlessItIsOpen(t *testing.T) {
	byDefault := rootCmd().Flags().Lookup("startup").DefValue
	for startup, want := range map[string]bool{byDefault: true, "deny": true, "open": false} {
		if hold, err := (&options{startup: startup}).holdNew(); err != nil || hold != want {
			t.Errorf("--startup=%s: pods are held: %v, %v", startup, hold, err)
		}
	}
}

func TestCheckSaysWhatIsThere(t *testing.T) {
	bpffs := t.TempDir()
	text, textErr := execute(t, "check", "--bpffs", bpffs)
	js, jsErr := execute(t, "check", "--json", "--bpffs", bpffs)
	if (textErr == nil) != (jsErr == nil) {
		t.Errorf("text says %v, JSON says %v", textErr, jsErr)
	}
	var all []agent.Feature
	if err := json.Unmarshal([]byte(js), &all); err != nil || len(all) < 10 {
		t.Fatalf("%d features: %v", len(all), err)
	}
	for _, f := range all {
		if !strings.Contains(text, f.Name) || f.Detail == "" {
			t.Errorf("%+v is not in the text", f)
		}
	}
}

func TestCleanupOfNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := execute(t, "cleanup", "--bpffs", dir); err != nil {
		t.Errorf("no bpf file system: %v", err)
	}
	if _, err := execute(t, "cleanup", "--bpffs", filepath.Join(dir, "missing")); err == nil {
		t.Error("a path that is not there is no error")
	}
}
