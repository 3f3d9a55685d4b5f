package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// build compiles a program so that neither the place nor the time of the build is in it.
func build(ctx context.Context, program, arch, version string) (data []byte, err error) {
	dir, err := os.MkdirTemp("", "ambit-image")
	if err != nil {
		return nil, fmt.Errorf("make directory for programs: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	exe := filepath.Join(dir, program)
	ldflags := "-s -w -buildid= -X github.com/ambitmesh/ambit/internal/version.linked=" + version
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags", ldflags, "-o", exe, "./cmd/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=", "GOAMD64=v1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	data, err = os.ReadFile(exe)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	return data, nil
}
