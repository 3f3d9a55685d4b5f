package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// How a program is compiled: neither the machine's settings nor its paths may show. The Dockerfile says the
// same (a test).
func buildEnv() []string   { return []string{"CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1"} }
func buildFlags() []string { return []string{"-trimpath", "-buildvcs=false", "-tags", "grpcnotrace"} }

func ldflags(version string) string {
	return "-s -w -buildid= -X github.com/ambitmesh/ambit/internal/version.linked=" + version
}

// build compiles a program so that neither the place nor the time of the build is in it.
func build(ctx context.Context, program, arch, version string) (data []byte, err error) {
	dir, err := os.MkdirTemp("", "ambit-image")
	if err != nil {
		return nil, fmt.Errorf("make directory for programs: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	exe := filepath.Join(dir, program)
	args := slices.Concat([]string{"build"}, buildFlags(), []string{"-o", exe, "-ldflags", ldflags(version), "./cmd/" + program})
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = slices.Concat(os.Environ(), buildEnv(), []string{"GOOS=linux", "GOARCH=" + arch})
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	data, err = os.ReadFile(exe)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	return data, nil
}
