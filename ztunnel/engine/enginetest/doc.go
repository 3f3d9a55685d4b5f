// Package enginetest is what every engine must pass. It knows an engine by its border only: listeners
// and a Decider go in, records and bytes come out.
package enginetest

import (
	"slices"
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Options are what a test asks of the engine that it makes.
type Options = engine.Options

// Make makes an engine. The tests close it.
type Make func(t testing.TB, o Options) engine.Engine

// engines are under test: the first opens tunnels, the second takes them. What needs one only is the
// first's.
type engines struct {
	client, server Make
	pair           bool // two kinds: only what they do together is of interest
}

// Run tests one kind of engine.
func Run(t *testing.T, m Make) {
	by := engines{client: m, server: m}
	for _, c := range slices.Concat(alone(), together(), resuming()) {
		t.Run(c.name, func(t *testing.T) { c.run(by, t) })
	}
}

// RunPair tests what a client's engine and a server's of another kind do together.
func RunPair(t *testing.T, client, server Make) {
	by := engines{client: client, server: server, pair: true}
	for _, c := range slices.Concat(together(), resuming()) {
		t.Run(c.name, func(t *testing.T) { c.run(by, t) })
	}
}
