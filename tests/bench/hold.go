package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

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
	var p *lab.Process
	err = w.places.on(w.places.of(c.client.Node.Name), func() (err error) {
		p, err = c.client.Start(lab.Command{Args: []string{w.exe, "load", "idle", c.at(roleEcho), strconv.Itoa(n)}, Stdin: in, Stdout: out, Log: "idle-" + c.name})
		return err
	})
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

const holdLimit = 4 * time.Minute // a handshake for each takes its time

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
