package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ambitmesh/ambit/internal/lab"
)

const (
	held   = 3        // connections that a verification holds
	direct = "direct" // the path that only the kernel is on
)

// verify holds connections on a chain and asks everything that could carry them. It tries again: sockets of
// what was before may still be closing, and the first connection of a direct way goes through the proxy.
func (w *world) verify(ctx context.Context, c chain) error {
	ctx, cancel := context.WithTimeout(ctx, waitUp)
	defer cancel()
	return lab.Eventually(ctx, func(ctx context.Context) error { return w.verifyOnce(ctx, c) })
}

func (w *world) verifyOnce(ctx context.Context, c chain) error {
	before, err := w.quietSockets(ctx)
	if err != nil {
		return err
	}
	carried, err := c.carried(ctx)
	if err != nil {
		return err
	}
	h, err := w.hold(ctx, c, held)
	if err != nil {
		return err
	}
	defer h.release()
	after, err := w.pairSockets()
	if err != nil {
		return err
	}
	for dir, n := range after {
		want := 0
		if c.pair && slices.Contains(c.proxies, dir) {
			want = 2 * held // a leg to each side
		}
		if got := n - before[dir]; got != want {
			return fmt.Errorf("%s has %d more sockets, want %d", filepath.Base(dir), got, want)
		}
	}
	if now, err := c.carried(ctx); err != nil || c.tunnelled != nil && now-carried != held {
		return errors.Join(fmt.Errorf("%d connections more went by mutual TLS, want %d", now-carried, held), err)
	}
	return w.verifyMesh(ctx, c)
}

// carried is how many connections another mesh's proxy says that it has carried.
func (c chain) carried(ctx context.Context) (int, error) {
	if c.tunnelled == nil {
		return 0, nil
	}
	return c.tunnelled(ctx)
}

// verifyMesh counts the client's connections at its node's ztunnel, by path.
func (w *world) verifyMesh(ctx context.Context, c chain) error {
	if c.client.Node.Ztunnel() == nil || c.path == direct {
		return nil // there is no agent either, or ztunnel has no socket of it
	}
	paths, err := outbound(ctx, c.client)
	if err != nil {
		return err
	}
	if want := map[string]int{c.path: held}; !maps.Equal(paths, want) {
		return fmt.Errorf("ztunnel has connections by path %v, want %v", paths, want)
	}
	return nil
}

// outbound counts a pod's connections by path.
func outbound(ctx context.Context, p *lab.Pod) (map[string]int, error) {
	var all struct {
		Connections []struct {
			Kind string `json:"kind"`
			Pod  string `json:"pod"`
			Path string `json:"path"`
		} `json:"connections"`
	}
	b, err := p.Node.GetZtunnel(ctx, "/connections")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("decode connections: %w", err)
	}
	paths := map[string]int{}
	for _, x := range all.Connections {
		if x.Pod == p.FullName() && x.Kind == "outbound" {
			paths[x.Path]++
		}
	}
	return paths, nil
}

// quietSockets counts the pairs' sockets once what was closed before is gone.
func (w *world) quietSockets(ctx context.Context) (last map[string]int, err error) {
	err = lab.Eventually(ctx, func(context.Context) error {
		now, err := w.pairSockets()
		if err == nil && !maps.Equal(now, last) {
			err = fmt.Errorf("the pairs have %v sockets, a moment ago %v", now, last)
		}
		last = now
		return err
	})
	return last, err
}

// pairSockets counts the open sockets, by cgroup, of relays, of other proxies and of a ztunnel that should
// carry nothing.
func (w *world) pairSockets() (map[string]int, error) {
	out := map[string]int{}
	for _, c := range w.chains {
		for _, dir := range c.proxies {
			if !c.pair && c.path != direct {
				continue
			}
			pids, err := pidsIn(dir)
			if err != nil {
				return nil, err
			}
			for _, pid := range pids {
				n, err := sockets(pid)
				if err != nil {
					return nil, err
				}
				out[dir] += n
			}
		}
	}
	return out, nil
}

// pidsIn lists the processes of a cgroup.
func pidsIn(dir string) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []int
	for f := range strings.FieldsSeq(string(b)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("list processes of %s: %w", dir, err)
		}
		out = append(out, pid)
	}
	return out, nil
}

func sockets(pid int) (int, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("count sockets: %w", err)
	}
	n := 0
	for _, e := range entries {
		to, err := os.Readlink(dir + "/" + e.Name())
		if err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n, nil
}
