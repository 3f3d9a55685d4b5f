package cluster

import (
	"context"
	"fmt"
)

// State is what a check found.
type State string

// The states. Fail means that the mesh does not work, or must not be installed.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "FAIL"
)

// Line is one finding, with what to do about it.
type Line struct {
	State  State  `json:"state"`
	What   string `json:"what"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// Check looks whether Ambit can be installed, or whether what is installed is whole.
func (c *Cluster) Check(ctx context.Context) []Line {
	var out []Line
	for _, x := range []struct {
		what string
		look func(context.Context) ([]Line, error)
	}{
		{"API server", c.checkServer}, {"nodes", c.checkNodes}, {"other meshes", c.checkMeshes}, {"definitions", c.checkCRDs},
		{"admission webhooks", c.checkWebhooks}, {"install", c.checkInstall}, {"pods", c.checkPods},
	} {
		lines, err := x.look(ctx)
		if err != nil {
			lines = append(lines, Line{Fail, x.what, err.Error(), "the check needs to read these objects: ask as an administrator"})
		}
		out = append(out, lines...)
	}
	return out
}

func one(s State, what, hint, format string, args ...any) []Line {
	return []Line{{s, what, fmt.Sprintf(format, args...), hint}}
}
