package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// nodeCgroups is the namespace of the node's first process.
const nodeCgroups = "/proc/1/ns/cgroup"

// joinCgroups moves this process into a cgroup namespace, the node's. Container
// runtimes give a container on a cgroup2 machine one of its own, in which the paths of all other
// processes are relative ("/../../x"): pods, the kubelet and the proxy could not be told apart. A
// namespace is a thread's, so the program starts again in the new one.
func joinCgroups(theirs string) error {
	same, err := sameNamespace("/proc/self/ns/cgroup", theirs)
	if err != nil || same {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := os.Open(theirs)
	if err != nil {
		return fmt.Errorf("open the node's cgroup namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("join the node's cgroup namespace: %w", err)
	}
	if err := unix.Exec("/proc/self/exe", os.Args, os.Environ()); err != nil {
		return fmt.Errorf("start again in the node's cgroup namespace: %w", err)
	}
	return nil
}

func sameNamespace(a, b string) (bool, error) {
	x, err := os.Readlink(a)
	if err != nil {
		return false, fmt.Errorf("read cgroup namespace: %w", err)
	}
	y, err := os.Readlink(b)
	if err != nil {
		return false, fmt.Errorf("read cgroup namespace (is the agent in the host's pid namespace?): %w", err)
	}
	return x == y, nil
}
