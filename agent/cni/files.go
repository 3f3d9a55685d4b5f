package cni

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/internal/cni"
)

// savedSuffix hides a configuration of one plugin, which a list of ours stands in for, from runtimes.
const savedSuffix = ".ambit-saved"

// savedList is the copy of the list of namespaces beside the configuration: runtimes pass over it, and it
// outlives a restart of the node.
const savedList = ".ambit-namespaces"

// errNoPrimary means that no plugin has been installed yet that makes a network.
var errNoPrimary = errors.New("no CNI configuration to chain after")

// configs lists the configurations as runtimes do: the first by name is used.
func configs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read CNI configuration: %w", err)
	}
	var names []string
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".conf", ".conflist", ".json":
			if !e.IsDir() {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// chainIn puts our plugin into the configuration that runtimes use. It reports whether it had to.
func chainIn(dir string, conf cni.Config) (file string, changed bool, err error) {
	names, err := configs(dir)
	if err != nil {
		return "", false, err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		text, mode, err := read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return name, false, err
		}
		list, err := insert(text, conf)
		if err == nil {
			if bytes.Equal(list, text) {
				return name, false, nil
			}
			return name, true, cni.WriteFile(path, list, mode)
		}
		if list, err = wrap(text, conf); err == nil {
			return name, true, standIn(path, list, mode)
		}
		// Runtimes pass over what they cannot read, and so do we.
	}
	return "", false, errNoPrimary
}

// standIn puts a list in the place of a configuration of one plugin, which is kept aside.
func standIn(path string, list []byte, mode fs.FileMode) error {
	if err := cni.WriteFile(listOf(path), list, mode); err != nil {
		return err
	}
	if err := os.Rename(path, path+savedSuffix); err != nil {
		return fmt.Errorf("put aside: %w", err)
	}
	return nil
}

func listOf(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".conflist" }

// chainOut takes our plugin out of every configuration and puts back what was put aside.
func chainOut(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read CNI configuration: %w", err)
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if was, ok := strings.CutSuffix(path, savedSuffix); ok {
			errs = append(errs, putBack(was))
		}
	}
	names, err := configs(dir)
	errs = append(errs, err)
	for _, name := range names {
		errs = append(errs, takeOut(filepath.Join(dir, name)))
	}
	return errors.Join(append(errs, gone(filepath.Join(dir, savedList)), gone(filepath.Join(dir, seenFile)))...)
}

// putBack undoes standIn, unless the primary has written its configuration anew.
func putBack(path string) error {
	if _, err := os.Stat(path); err == nil {
		return errors.Join(gone(path+savedSuffix), gone(listOf(path)))
	}
	if err := os.Rename(path+savedSuffix, path); err != nil {
		return fmt.Errorf("put back: %w", err)
	}
	return gone(listOf(path))
}

func takeOut(path string) error {
	text, mode, err := read(path)
	if err != nil {
		return err
	}
	without, err := remove(text)
	if err != nil || bytes.Equal(without, text) {
		return nil //nolint:nilerr // not a chain, so not with us in it
	}
	return cni.WriteFile(path, without, mode)
}

func gone(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// maxConfig bounds a configuration file.
const maxConfig = 4 << 20

func read(path string) ([]byte, fs.FileMode, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, 0, fmt.Errorf("read CNI configuration: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxConfig {
		return nil, 0, fmt.Errorf("read CNI configuration: %s is no regular file below 4 MiB: %w", path, fs.ErrInvalid)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, fmt.Errorf("read CNI configuration: %w", err)
	}
	return b, fi.Mode().Perm(), nil
}

// copyBinary puts the plugin where runtimes look for it. A running copy is not disturbed.
func copyBinary(from, dir string) error {
	want, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read plugin: %w", err)
	}
	to := filepath.Join(dir, cni.Type)
	have, err := os.ReadFile(to)
	if err == nil && bytes.Equal(have, want) {
		return nil
	}
	return cni.WriteFile(to, want, 0o755)
}

// Uninstall takes the plugin out of the chain, then removes it. It may be repeated.
func Uninstall(o Paths) error {
	return errors.Join(chainOut(o.ConfDir), gone(filepath.Join(o.BinDir, cni.Type)),
		gone(filepath.Join(o.Dir, cni.ListName)), gone(filepath.Join(o.Dir, cni.SocketName)))
}

// Installed says what of the plugin is on the node: nothing if it is empty.
func Installed(o Paths) ([]string, error) {
	var found []string
	for _, path := range []string{filepath.Join(o.BinDir, cni.Type), filepath.Join(o.ConfDir, savedList), filepath.Join(o.ConfDir, seenFile)} {
		if _, err := os.Stat(path); err == nil {
			found = append(found, path)
		}
	}
	names, err := configs(o.ConfDir)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	for _, name := range names {
		path := filepath.Join(o.ConfDir, name)
		text, _, rerr := read(path)
		if c, perr := parseChain(text); rerr == nil && perr == nil && c.ours >= 0 {
			found = append(found, path)
		}
	}
	return found, err
}
