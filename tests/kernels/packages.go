package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// errNone says that the configured package sources have no such kernel.
var errNone = errors.New("no such kernel in the package sources")

// kernel is an unpacked kernel package.
type kernel struct{ image, modules string }

// fetch downloads the newest cloud kernel of a line, such as "6.1", and unpacks it below dir.
func fetch(ctx context.Context, dir, line string) (kernel, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return kernel{}, fmt.Errorf("%w: apt-get is not here", errNone)
	}
	name, err := newest(ctx, line)
	if err != nil {
		return kernel{}, err
	}
	into := filepath.Join(dir, name)
	if _, err := os.Stat(into); err == nil {
		return find(into)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return kernel{}, err
	}
	if _, err := output(ctx, dir, "apt-get", "-q", "download", name); err != nil {
		return kernel{}, err
	}
	debs, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(debs) == 0 {
		return kernel{}, fmt.Errorf("find downloaded package %s: %w", name, errors.Join(err, os.ErrNotExist))
	}
	tmp := into + ".new"
	if _, err := output(ctx, dir, "dpkg-deb", "-x", debs[0], tmp); err != nil {
		return kernel{}, err
	}
	for _, deb := range debs {
		if err := os.Remove(deb); err != nil {
			return kernel{}, err
		}
	}
	if err := os.Rename(tmp, into); err != nil {
		return kernel{}, err
	}
	return find(into)
}

func find(dir string) (kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return kernel{}, fmt.Errorf("find the kernel in %s: %d files: %w", dir, len(images), errors.Join(err, os.ErrNotExist))
	}
	modules, err := filepath.Glob(filepath.Join(dir, "*lib", "modules", "*"))
	if err == nil && len(modules) == 0 {
		modules, err = filepath.Glob(filepath.Join(dir, "usr", "lib", "modules", "*"))
	}
	if err != nil || len(modules) != 1 {
		return kernel{}, fmt.Errorf("find the modules in %s: %w", dir, errors.Join(err, os.ErrNotExist))
	}
	return kernel{images[0], modules[0]}, nil
}

// newest is the name of the newest signed package of a line.
func newest(ctx context.Context, line string) (string, error) {
	out, err := output(ctx, "", "apt-cache", "search", "--names-only", `^linux-image-`+regexp.QuoteMeta(line)+`\.[0-9].*cloud-amd64$`)
	if err != nil {
		return "", err
	}
	var names []string
	for l := range strings.Lines(out) {
		name, _, _ := strings.Cut(l, " ")
		if !strings.Contains(name, "unsigned") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%w: linux-image-%s.*-cloud-amd64 (apt-get update, or add a source that has it)", errNone, line)
	}
	return slices.MaxFunc(names, func(a, b string) int { return slices.Compare(numbers(a), numbers(b)) }), nil
}

var digits = regexp.MustCompile(`[0-9]+`)

func numbers(s string) []int {
	var out []int
	for _, d := range digits.FindAllString(s, -1) {
		n, err := strconv.Atoi(d)
		if err == nil {
			out = append(out, n)
		}
	}
	return out
}

// output runs a command and returns what it prints; an error has what it complains about.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
