package decide

import (
	"testing"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Whatever a peer writes into its request, the tunnel leads to the pod itself and to no port of the
// mesh, and what cannot be read is answered 400.
func FuzzConnect(f *testing.F) {
	w, p := server(f)
	for _, authority := range []string{"10.0.0.9:8080", "[fd00::9]:8080", "web.shop:80", "127.0.0.1:80", "10.0.0.9:15008", "10.0.0.9:0",
		"[::ffff:10.0.0.9]:80", "web.shop.:80", "else.shop:80", ":80", "[fd00::9%eth0]:80", "10.0.0.9:+80"} {
		f.Add(authority, `for="10.0.1.1:40000";host=web.shop`, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	}
	f.Fuzz(func(t *testing.T, authority, forwarded, trace string) {
		r := w.tunnel(p, "friend", "10.0.1.1", authority)
		r.Request = &hbone.Request{Authority: authority, Forwarded: forwarded, Traceparent: trace}
		switch plan := w.d.Connect(r); {
		case plan.Action == engine.Deliver:
			if !p.Owns(plan.Dial.To.Addr()) || reserved(plan.Dial.To.Port()) || plan.Dial.Pod != p {
				t.Errorf("%q leads to %s", authority, plan.Dial.To)
			}
		case plan.Action != engine.Refuse || plan.Status != 400:
			t.Errorf("%q: %s", authority, show(plan))
		}
		if s := r.Service; s != nil && s.Name != "web" {
			t.Errorf("%q, %q: service %s", authority, forwarded, s.Key)
		}
	})
}
