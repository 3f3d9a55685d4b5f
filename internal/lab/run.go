package lab

import (
	"bytes"
	"context"
	"fmt"
)

// output runs a command in a host to its end and returns what it printed.
func (l *Lab) output(ctx context.Context, h *Host, args ...string) ([]byte, error) {
	var out, errOut bytes.Buffer
	p, err := h.Start(Command{Args: args, Stdout: &out, Stderr: &errOut})
	if err != nil {
		return nil, err
	}
	if err := p.Wait(ctx); err != nil {
		if p.Running() {
			p.Kill() // the wait's error is the one to tell
		}
		return nil, fmt.Errorf("%s: %w: %s", args[0], err, bytes.TrimSpace(errOut.Bytes()))
	}
	return out.Bytes(), nil
}

// Run runs a command in the host to its end and returns its standard output.
func (h *Host) Run(ctx context.Context, args ...string) ([]byte, error) {
	return h.lab.output(ctx, h, args...)
}
