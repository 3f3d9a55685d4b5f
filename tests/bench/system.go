package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func getenv(name string) string { return os.Getenv(name) }

// versionOf is what ambit-ztunnel says of itself; "" if it says nothing.
func versionOf(ctx context.Context, bin string) string {
	b, err := exec.CommandContext(ctx, filepath.Join(bin, "ambit-ztunnel"), "--version").Output()
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(first)
}

const openFiles = 60_000 // two for each of 10,000 connections, and room

// raiseFiles lets this process, and what it starts, open many files: as many as the hard limit allows where
// that cannot be raised.
func raiseFiles() (missing []string) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return []string{"the limit of open files: " + err.Error()}
	}
	if l.Cur >= openFiles {
		return nil
	}
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: openFiles, Max: max(l.Max, openFiles)})
	if err == nil {
		return nil
	}
	missing = []string{fmt.Sprintf("the limit of open files, %d, to %d: %v", l.Max, openFiles, err)}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		missing = append(missing, "the limit of open files to its most: "+err.Error())
	}
	return missing
}
