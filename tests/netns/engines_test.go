package netns

import (
	"fmt"
	"testing"

	"github.com/ambitmesh/ambit/internal/lab"
)

// TestEngines changes the proxies' engine under traffic, one node after the other and back: nothing
// breaks, and each engine speaks with the other.
func TestEngines(t *testing.T) {
	s := newShop(t, lab.Options{Engine: "std"})
	for _, step := range []struct{ node, engine string }{
		{"node-a", "loop"}, {"node-b", "loop"}, {"node-a", "std"}, {"node-b", "std"},
	} {
		t.Run(step.node+" to "+step.engine, func(t *testing.T) {
			s.exchange(t, step.node, "--engine", step.engine)
			s.works(t)
			n, err := s.metric(ctx(t), step.node, "ambit_ztunnel_info", fmt.Sprintf("engine=%q", step.engine))
			if err != nil || n != 1 {
				t.Errorf("the metric says %v (%v)", n, err)
			}
			for _, v6 := range []bool{false, true} {
				bulk(t, s.client, s.far, v6, 20<<20)
				halfClose(t, s.client, s.far, v6)
				serverEndsFirst(t, s.client, s.far, v6)
				resetPasses(t, s.client, s.far, v6)
			}
		})
	}
}
