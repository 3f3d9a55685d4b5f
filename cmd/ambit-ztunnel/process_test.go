package main

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHarden: no core file can be written, and the process's memory is closed to others of its user. It runs in a
// process of its own, which the test binary is started as again.
func TestHarden(t *testing.T) {
	const inChild = "AMBIT_TEST_HARDEN"
	if os.Getenv(inChild) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHarden$", "-test.v")
		cmd.Env = append(os.Environ(), inChild+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if _, dumpable := exposed(t); dumpable == 0 {
		t.Fatal("closed before: this shows nothing")
	}
	if err := harden(); err != nil {
		t.Fatal(err)
	}
	if core, dumpable := exposed(t); core != (unix.Rlimit{}) || dumpable != 0 {
		t.Errorf("core files of %d (at most %d) bytes, dumpable %d; want 0 each", core.Cur, core.Max, dumpable)
	}
}

func exposed(t *testing.T) (core unix.Rlimit, dumpable int) {
	t.Helper()
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil {
		t.Fatal(err)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return core, dumpable
}
