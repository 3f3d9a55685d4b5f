package decide

import (
	"fmt"
	"testing"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// TestMemosForget: what connections of workloads needed does not keep those workloads for ever.
func TestMemosForget(t *testing.T) {
	w, _ := server(t)
	most := 0
	for i := range 3 * manyChanges {
		w.addresses(pod("friend", "there", func(x *workload.Workload) { x.CanonicalName = fmt.Sprint(i) }, "10.0.1.1"))
		now := w.store.Snapshot().Workload(uid("friend"))
		if got := w.d.baggageOf(now); got != w.d.baggageOf(now) || w.d.responseOf(now)[0].Value != got {
			t.Fatalf("change %d: baggage %q", i, got)
		}
		most = max(most, len(w.d.baggage.values), len(w.d.response.values))
	}
	if most > manyChanges || most < manyChanges/2 {
		t.Errorf("%d versions of one workload were held at once", most)
	}
}
