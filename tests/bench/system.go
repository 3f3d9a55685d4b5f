package main

import (
	"context"
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

// raiseFiles lets this process, and what it starts, open many files.
func raiseFiles() (missing []string) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err == nil && l.Cur >= openFiles {
		return nil
	}
	l.Cur, l.Max = openFiles, max(l.Max, openFiles)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return []string{"the limit of open files: " + err.Error()}
	}
	return nil
}
