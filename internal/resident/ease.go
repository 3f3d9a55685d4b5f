package resident

import (
	"os"
	"runtime/debug"
)

const (
	// room is how much a small heap may grow before it is collected, in bytes. The runtime's rule, to collect
	// when a heap has doubled, has a process with 4 MB collect with every few dozen TLS handshakes, and takes
	// a twentieth of their CPU time. What is not used is given back when the process is at rest.
	room = 12 << 20

	runtimePercent = 100
	mostPercent    = 400
)

// ease is how much a heap may grow, as the runtime was told last. The zero value is the runtime's own rule.
type ease struct{ percent int }

// set tells the runtime what is right for this much live memory, unless who started the process has decided.
func (e *ease) set(live uint64) {
	p := percentFor(live)
	if os.Getenv("GOGC") != "" || p == e.percent || p > runtimePercent && near(p, e.percent) {
		return
	}
	e.percent = p
	debug.SetGCPercent(p)
}

// near says that a change is not worth stopping the world.
func near(a, b int) bool { return max(a, b)-min(a, b) < b/8 }

func percentFor(live uint64) int {
	return int(min(max(runtimePercent*room/max(live, 1), runtimePercent), mostPercent))
}
