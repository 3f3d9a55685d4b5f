// Package machine looks at this node itself: whether it can carry a mesh, and what one has left on it.
package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ambitmesh/ambit/agent/netns"
)

// Places are where a node's parts keep what outlives them.
type Places struct {
	Pins    string   // directory below the bpf file system
	Runs    []string // directories of sockets and snapshots
	CNIBin  string
	CNIConf string
}

// Usual are the places of the manifests and of the programs' defaults.
func Usual() Places {
	return Places{Pins: "/sys/fs/bpf/ambit", Runs: []string{"/run/ambit"}, CNIBin: "/opt/cni/bin", CNIConf: "/etc/cni/net.d"}
}

const plugin = "ambit-cni"

// Leftovers lists what of a mesh is on this node: pins, files, the CNI plugin and its configuration,
// rules in network namespaces. It needs root to see all namespaces.
func (p Places) Leftovers() ([]string, error) {
	var out []string
	for _, dir := range append([]string{p.Pins}, p.Runs...) {
		files, err := filesBelow(dir)
		if err != nil {
			return nil, err
		}
		out = append(out, files...)
	}
	if bin := filepath.Join(p.CNIBin, plugin); exists(bin) {
		out = append(out, bin)
	}
	conf, err := p.configured()
	if err != nil {
		return nil, err
	}
	rules, err := namespaces()
	return append(append(out, conf...), rules...), err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// filesBelow lists what is not a directory: an empty one is no trace of a mesh at work.
func filesBelow(dir string) (out []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look below %s: %w", dir, err)
	}
	return out, nil
}

// configured lists CNI configurations that name the plugin, or were put aside for one that does.
func (p Places) configured() (out []string, err error) {
	files, err := filepath.Glob(filepath.Join(p.CNIConf, "*"))
	if err != nil {
		return nil, fmt.Errorf("list CNI configurations: %w", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && bytes.Contains(b, []byte(plugin)) {
			out = append(out, f+" names "+plugin)
		}
	}
	return out, nil
}

// namespaces lists network namespaces of processes in which our rule still is.
func namespaces() (out []string, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	seen := map[uint64]bool{}
	for _, f := range files {
		inode, err := netns.InodeAt(f)
		if err != nil || seen[inode] { // a process that has ended
			continue
		}
		seen[inode] = true
		found, err := configured(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return out, fmt.Errorf("look into %s: %w", f, err)
		}
		if found {
			out = append(out, f+" has the routing rule of captured traffic")
		}
	}
	return out, nil
}

func configured(file string) (bool, error) {
	ns, err := netns.Open(file)
	if err != nil {
		return false, err
	}
	defer ns.Close()
	return ns.Configured()
}
