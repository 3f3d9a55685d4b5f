package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
)

const ticks = 100 // of the kernel's accounting, a second

// process reads what the kernel knows of a process.
func process(pid int) (Part, error) {
	p, dir := Part{PID: pid}, fmt.Sprintf("/proc/%d", pid)
	f, err := os.Open(filepath.Join(dir, "status"))
	if err != nil {
		return p, fmt.Errorf("read status: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		n, _ := strconv.Atoi(fields[0]) // not all lines are numbers
		switch name {
		case "RssAnon":
			p.Anon = float64(n) * 1024 / 1e6
		case "RssFile":
			p.File = float64(n) * 1024 / 1e6
		case "Threads":
			p.Threads = n
		}
	}
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return p, fmt.Errorf("list descriptors: %w", err)
	}
	p.Files = len(files)
	p.CPU, err = cpu(filepath.Join(dir, "stat"))
	return p, errors.Join(err, lines.Err())
}

// cpu is the seconds that a process has run, as /proc/<pid>/stat tells.
func cpu(path string) (float64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read stat: %w", err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	const user, system = 11, 12 // counted after the name
	if len(f) <= system {
		return 0, fmt.Errorf("read %s: %q", path, b)
	}
	u, errU := strconv.Atoi(f[user])
	k, errK := strconv.Atoi(f[system])
	return float64(u+k) / ticks, errors.Join(errU, errK)
}

// entries counts what is in the pinned maps that grow and shrink.
func entries(dir string) (map[string]int, error) {
	pins, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list pins: %w", err)
	}
	out := map[string]int{}
	for _, pin := range pins {
		if pin.IsDir() {
			continue
		}
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, pin.Name()), nil)
		if err != nil {
			continue // a program or a link
		}
		if t := m.Type(); t == ebpf.Hash || t == ebpf.LRUHash || t == ebpf.SockHash {
			out[pin.Name()], err = count(m)
		}
		if err := errors.Join(err, m.Close()); err != nil {
			return nil, fmt.Errorf("count entries of %s: %w", pin.Name(), err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no map in %s", dir)
	}
	return out, nil
}

// count walks the keys; a map that changes meanwhile may be counted a little wrong.
func count(m *ebpf.Map) (n int, err error) {
	var key []byte
	for n < int(m.MaxEntries())*2 {
		var at any
		if key != nil {
			at = key
		}
		key, err = m.NextKeyBytes(at)
		if err != nil || key == nil {
			return n, err
		}
		n++
	}
	return n, nil
}
