package loop

import (
	"sync/atomic"

	"github.com/ambitmesh/ambit/internal/resident"
)

// growthStep is after how many connections more memory is tidied.
const growthStep = 256

// growth is how many connections are established, and were when memory was tidied last. New ones in the place of
// old ones are none more.
type growth struct {
	now, tidied atomic.Int64
	more        chan struct{} // asks the sweeper
}

func (g *growth) enter() {
	if g.now.Add(1) < g.tidied.Load()+growthStep {
		return
	}
	select {
	case g.more <- struct{}{}:
	default:
	}
}

func (g *growth) leave() { g.now.Add(-1) }

// tidy is the sweeper's.
func (g *growth) tidy() {
	g.tidied.Store(g.now.Load())
	resident.Tidy()
}

// rest is the sweeper's, now and then.
func (g *growth) rest() { g.tidied.Store(min(g.tidied.Load(), g.now.Load())) }
