package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

const held = 3 // connections that a verification holds

// verify holds connections on a chain and asks everything that could carry them.
func (w *world) verify(ctx context.Context, c chain) error {
	before, err := w.quietSockets(ctx)
	if err != nil {
		return err
	}
	h, err := w.hold(ctx, c, held)
	if err != nil {
		return err
	}
	defer h.release()
	after, err := w.relaySockets()
	if err != nil {
		return err
	}
	want := 0
	if c.relays {
		want = 2 * held // a leg to each side
	}
	for i := range after {
		if got := after[i] - before[i]; got != want {
			return fmt.Errorf("relay %d has %d more sockets, want %d", i, got, want)
		}
	}
	return w.verifyProxies(ctx, c)
}

// verifyProxies counts the client's connections at its node's ztunnel, by path.
func (w *world) verifyProxies(ctx context.Context, c chain) error {
	var all struct {
		Connections []struct {
			Kind string `json:"kind"`
			Pod  string `json:"pod"`
			Path string `json:"path"`
		} `json:"connections"`
	}
	b, err := c.client.Node.GetZtunnel(ctx, "/connections")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("decode connections: %w", err)
	}
	paths := map[string]int{}
	for _, x := range all.Connections {
		if x.Pod == c.client.FullName() && x.Kind == "outbound" {
			paths[x.Path]++
		}
	}
	switch {
	case c.path == "" && len(paths) > 0:
		return fmt.Errorf("ztunnel carries it: %v", paths)
	case c.path != "" && (len(paths) != 1 || paths[c.path] != held):
		return fmt.Errorf("ztunnel has connections by path %v, want %d by %s", paths, held, c.path)
	}
	return nil
}

// quietSockets counts the relays' sockets once what was closed before is gone.
func (w *world) quietSockets(ctx context.Context) (last []int, err error) {
	err = lab.Eventually(ctx, func(context.Context) error {
		now, err := w.relaySockets()
		if err == nil && !slices.Equal(now, last) {
			err = fmt.Errorf("the relays have %v sockets, a moment ago %v", now, last)
		}
		last = now
		return err
	})
	return last, err
}

// relaySockets counts each relay's open sockets.
func (w *world) relaySockets() ([]int, error) {
	var out []int
	for _, p := range w.relays {
		n, err := sockets(p.PID())
		if err != nil {
			return nil, err
		}
		out = append(out, n)
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

// holder keeps idle connections open.
type holder struct {
	p  *lab.Process
	in *os.File
}

// hold opens n connections, each of which has carried a byte.
func (w *world) hold(ctx context.Context, c chain, n int) (*holder, error) {
	in, toHolder, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer in.Close()
	fromHolder, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make pipe: %w", err), toHolder.Close())
	}
	defer fromHolder.Close()
	p, err := c.client.Start(lab.Command{Args: []string{w.exe, "load", "idle", c.at(0), strconv.Itoa(n)}, Stdin: in, Stdout: out, Log: "idle-" + c.name})
	out.Close()
	if err != nil {
		return nil, errors.Join(err, toHolder.Close())
	}
	h := &holder{p, toHolder}
	if err := h.ready(ctx, fromHolder); err != nil {
		h.release()
		said, readErr := os.ReadFile(w.lab.LogFile("idle-" + c.name))
		return nil, errors.Join(fmt.Errorf("hold %d connections over %s: %w: %s", n, c.name, err, said), readErr)
	}
	return h, nil
}

const holdLimit = 2 * time.Minute

func (h *holder) ready(ctx context.Context, r *os.File) error {
	if err := r.SetReadDeadline(time.Now().Add(holdLimit)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the holder ended: %w", h.p.Wait(ctx))
	}
	if err == nil && strings.TrimSpace(line) != "READY" {
		err = fmt.Errorf("the holder said %q", line)
	}
	return err
}

// release closes the connections.
func (h *holder) release() {
	h.in.Close()
	h.p.Kill() // it holds nothing that must be saved
}
