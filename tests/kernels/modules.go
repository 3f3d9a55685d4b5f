package kernels

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is a kernel module, ready to insert.
type module struct {
	name string
	code []byte
}

// needed reads modules with all that they depend on, in the order to insert them. A name that the kernel
// has no module for is built in.
func needed(ctx context.Context, tree string, names ...string) ([]module, error) {
	files, err := index(tree)
	if err != nil {
		return nil, err
	}
	var out []module
	for _, n := range names {
		if out, err = add(ctx, files, out, n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func add(ctx context.Context, files map[string]string, have []module, name string) ([]module, error) {
	name = strings.ReplaceAll(name, "-", "_")
	if files[name] == "" || slices.ContainsFunc(have, func(m module) bool { return m.name == name }) {
		return have, nil
	}
	code, err := load(ctx, files[name])
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", name, err)
	}
	for _, dep := range dependencies(code) {
		if have, err = add(ctx, files, have, dep); err != nil {
			return nil, err
		}
	}
	return append(have, module{name, code}), nil
}

func index(tree string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if name, _, ok := strings.Cut(filepath.Base(path), ".ko"); ok {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list modules: %w", err)
	}
	return files, nil
}

func load(ctx context.Context, path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		return os.ReadFile(path)
	}
	out, err := output(ctx, "", "xz", "-dc", path)
	return []byte(out), err
}

var depends = regexp.MustCompile(`\x00depends=([^\x00]*)\x00`)

func dependencies(code []byte) []string {
	m := depends.FindSubmatch(code)
	if m == nil || len(m[1]) == 0 {
		return nil
	}
	return strings.Split(string(m[1]), ",")
}
