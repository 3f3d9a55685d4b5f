package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// features is what the built ztunnel can do.
type features struct {
	engines  []string
	sameNode []string
	skipped  []string // in words
}

// best is the engine that is measured where only one is.
func (f features) best() string { return f.engines[len(f.engines)-1] }

// flags of a ztunnel with an engine and a way between pods of one node.
func (f features) flags(engine, sameNode string) []string {
	out := []string{"--same-node", sameNode}
	if len(f.engines) > 1 {
		out = append(out, "--engine", engine)
	}
	return out
}

func probe(ctx context.Context, bin string) (features, error) {
	b, err := exec.CommandContext(ctx, filepath.Join(bin, "ambit-ztunnel"), "--help").CombinedOutput()
	if err != nil {
		return features{}, fmt.Errorf("ask ambit-ztunnel for its flags: %w: %s", err, b)
	}
	f := features{engines: []string{"std"}, sameNode: []string{"mtls", "proxy"}}
	for line := range strings.Lines(string(b)) {
		switch {
		case strings.Contains(line, " --engine ") && strings.Contains(line, "loop"):
			f.engines = append(f.engines, "loop")
		case strings.Contains(line, " --same-node ") && strings.Contains(line, "direct"):
			f.sameNode = append(f.sameNode, "direct")
		}
	}
	if len(f.engines) == 1 {
		f.skipped = append(f.skipped, "ambit-loop: this ambit-ztunnel has no --engine loop")
	}
	if len(f.sameNode) == 2 {
		f.skipped = append(f.skipped, "node-direct: this ambit-ztunnel has no --same-node direct")
	}
	return f, nil
}
