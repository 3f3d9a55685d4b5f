package loop_test

import (
	"crypto/fips140"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop"
)

// TestFIPS: in FIPS 140-3 mode there is no such engine. The mode is a process's, so the test runs itself.
func TestFIPS(t *testing.T) {
	if fips140.Enabled() {
		if _, err := loop.New(engine.Options{}); !errors.Is(err, loop.ErrFIPS) {
			t.Errorf("New: %v", err)
		}
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFIPS$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=on")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
