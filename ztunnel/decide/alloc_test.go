package decide

import (
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// TestAllocations: to judge a live connection again allocates nothing; a new one has its plan, its state and the
// strings of its log line, once.
func TestAllocations(t *testing.T) {
	w, client, server := large(t)
	service, pod := w.outbound(client, "10.1.2.7:80"), w.outbound(client, "10.2.2.7:80")
	accepted := func(r *engine.Record) func() {
		return func() {
			r.State, r.Trace = nil, ""
			if p := w.d.Accepted(r); p.Action != engine.Tunnel {
				t.Fatal(show(p))
			}
			if l := of(r).lease; l != nil {
				l.Release()
			}
		}
	}
	asked := w.tunnel(server, "friend", "10.0.0.3", "10.0.0.2:8080")
	asked.Request.Forwarded = `for="10.0.0.3:1";host=s1.shop`
	live := w.tunnel(server, "friend", "10.0.0.3", "10.0.0.2:8080")
	w.establish(live, w.d.Connect(live))
	for name, c := range map[string]struct {
		most float64
		call func()
	}{
		"a service":   {8, accepted(service)},
		"a pod":       {7, accepted(pod)},
		"a request":   {1, func() { asked.State = nil; w.d.Connect(asked) }},
		"judge again": {0, func() { w.d.Rejudge(live) }},
	} {
		if n := testing.AllocsPerRun(200, c.call); n > c.most {
			t.Errorf("%s: %v allocations, at most %v", name, n, c.most)
		}
	}
}
