package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/link"
)

// Attach links steer to a pod's network namespace, or puts this build's program into the link that is
// there. From here on every connection to the pod's addresses goes to its listeners.
func (m *Mesh) Attach(netns int, cookie uint64) error {
	path := m.podPin(cookie)
	l, err := link.LoadPinnedLink(path, nil)
	if err == nil {
		defer l.Close()
		if err := replace(l, m.obj.AmbitSteer); err != nil {
			return fmt.Errorf("replace steer of namespace %d: %w", cookie, err)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open pinned steer of namespace %d: %w", cookie, err)
	}
	nl, err := link.AttachNetNs(netns, m.obj.AmbitSteer)
	if err != nil {
		return fmt.Errorf("attach steer to namespace %d: %w", cookie, err)
	}
	defer nl.Close()
	if err := nl.Pin(path); err != nil {
		return fmt.Errorf("pin steer of namespace %d: %w", cookie, err)
	}
	return nil
}

// Detach ends inbound capture of a namespace before it returns. (Removing the pin alone would end it a little
// later.) No link is no error, nor is one whose namespace is gone.
func (m *Mesh) Detach(cookie uint64) error {
	path := m.podPin(cookie)
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open pinned steer of namespace %d: %w", cookie, err)
	}
	if err := errors.Join(l.Detach(), os.Remove(path), l.Close()); err != nil {
		return fmt.Errorf("detach steer of namespace %d: %w", cookie, err)
	}
	return nil
}

// Attached lists the cookies of namespaces with a pinned link, dead ones included.
func (m *Mesh) Attached() ([]uint64, error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, fmt.Errorf("list pins: %w", err)
	}
	var out []uint64
	for _, e := range entries {
		if n, ok := strings.CutPrefix(e.Name(), podPin); ok {
			if c, err := strconv.ParseUint(n, 10, 64); err == nil {
				out = append(out, c)
			}
		}
	}
	return out, nil
}

// Verified is how many instructions the verifier walked for each program.
func (m *Mesh) Verified() (map[string]uint32, error) {
	out := map[string]uint32{}
	for _, h := range append(m.hooks(), hook{pin: "steer", prog: m.obj.AmbitSteer}) {
		info, err := h.prog.Info()
		if err != nil {
			return nil, fmt.Errorf("info of %s: %w", h.pin, err)
		}
		n, ok := info.VerifiedInstructions()
		if !ok {
			return nil, fmt.Errorf("info of %s: the kernel does not say how much it verified", h.pin)
		}
		out[strings.TrimPrefix(h.pin, "link_")] = n
	}
	return out, nil
}
