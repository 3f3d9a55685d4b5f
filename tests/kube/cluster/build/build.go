package build

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Cache holds what was built: bin, images, stamp.
type Cache struct {
	Dir  string // absolute
	Root string // of the harness' module, the directory that holds modules/
	Log  func(format string, args ...any)
}

// Bin is the directory of programs.
func (c Cache) Bin() string { return filepath.Join(c.Dir, "bin") }

// Images is the directory of image archives.
func (c Cache) Images() string { return filepath.Join(c.Dir, "images") }

// Fill builds what is missing. From nothing it takes about 25 minutes of processor time.
func (c Cache) Fill(ctx context.Context) error {
	for _, d := range []string{"bin/cni", "images", "stamp"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, d), 0o755); err != nil {
			return fmt.Errorf("make cache: %w", err)
		}
	}
	all, err := programs(filepath.Join(c.Root, "modules"))
	if err != nil {
		return err
	}
	for _, p := range all {
		if err := c.program(ctx, p); err != nil {
			return err
		}
	}
	return c.images(ctx)
}

func (c Cache) program(ctx context.Context, p program) error {
	dir := filepath.Join(c.Root, "modules", p.module)
	want, err := c.inputs(ctx, dir, p)
	if err != nil {
		return err
	}
	out, stamp := filepath.Join(c.Bin(), p.name), filepath.Join(c.Dir, "stamp", strings.ReplaceAll(p.name, "/", "_"))
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want && exists(out) {
		return nil
	}
	begin := time.Now()
	c.Log("building %s", p.name)
	if err := goBuild(ctx, dir, p, out); err != nil {
		return err
	}
	if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
		return fmt.Errorf("write stamp of %s: %w", p.name, err)
	}
	c.Log("built %s in %.0f s", p.name, time.Since(begin).Seconds())
	return nil
}

// goBuild writes beside the program and renames: a program that is run is never half written.
func goBuild(ctx context.Context, dir string, p program, out string) error {
	fresh := fmt.Sprintf("%s.%d", out, os.Getpid())
	cmd := exec.CommandContext(ctx, "nice", "go", "build", "-trimpath", "-buildvcs=false",
		"-tags", p.tags, "-ldflags", strings.TrimSpace("-s -w "+p.ldflags), "-o", fresh, p.pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if msg, err := cmd.CombinedOutput(); err != nil {
		_ = os.Remove(fresh)
		return fmt.Errorf("build %s: %w\n%s", p.name, err, msg)
	}
	if err := os.Rename(fresh, out); err != nil {
		return fmt.Errorf("put %s: %w", p.name, err)
	}
	return nil
}

// inputs is a digest of all that decides what a build gives: the toolchain, the flags, the versions and
// the module's own sources.
func (c Cache) inputs(ctx context.Context, dir string, p program) (string, error) {
	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("ask for the toolchain's version: %w", err)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s%s|%s|%s\n", version, p.pkg, p.tags, p.ldflags)
	files := []string{"go.mod", "go.sum"}
	if p.pkg == "." {
		files = append(files, "main.go")
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return "", fmt.Errorf("read inputs of %s: %w", p.name, err)
		}
		_, _ = io.WriteString(sum, string(b)) // a hash never fails
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
