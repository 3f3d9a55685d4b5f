package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const homeNamespace = "AMBIT_TEST_CGROUP_NAMESPACE"

// The test starts itself in a cgroup namespace of its own, as a container runtime does, and joins its
// parent's.
func TestJoinCgroups(t *testing.T) {
	if home := os.Getenv(homeNamespace); home != "" {
		if err := joinCgroups(home); err != nil { // it comes back here, from the start
			t.Fatal(err)
		}
		same, err := sameNamespace("/proc/self/ns/cgroup", home)
		if err != nil || !same {
			t.Fatalf("the same namespace: %v, %v", same, err)
		}
		return
	}
	if os.Getuid() != 0 {
		t.Skip("namespaces are root's to make and to join")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestJoinCgroups$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=/proc/%d/ns/cgroup", homeNamespace, os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWCGROUP}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if err := joinCgroups("/proc/self/ns/none"); err == nil {
		t.Error("no such namespace is no error")
	}
}
