package enginetest

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// shakes counts handshakes at one end.
type shakes struct {
	mu            sync.Mutex
	full, resumed int
}

func (s *shakes) add(_, resumed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if resumed {
		s.resumed++
	} else {
		s.full++
	}
}

func (s *shakes) counts() (full, resumed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full, s.resumed
}

// resumable is a mesh whose client connects anew whenever it is made to.
type resumable struct {
	*mesh
	wire     *wire
	at       [2]shakes // the client's and the server's
	wantFull int
	wantRes  int
}

func (by engines) newResumable(t testing.TB) *resumable {
	r := &resumable{mesh: by.newMesh(t, ServeTCP(t, Echo))}
	r.client.o.Handshake, r.server.o.Handshake = r.at[0].add, r.at[1].add
	return r
}

func (r *resumable) start(t testing.TB) *resumable {
	t.Helper()
	r.wire = newWire(t, r.server.listen(t, engine.HBONE), nil)
	r.in = r.wire.addr
	r.mesh.start(t)
	return r
}

// again connects anew, and says whether that is to be resumed. The session comes with the first bytes, so
// that it is there when they are answered.
func (r *resumable) again(t testing.TB, resumed bool) {
	t.Helper()
	r.wire.cut()
	Eventually(t, "the connection is gone", func() bool { return r.client.pod.Usage.Tunnels.Load() == 0 })
	r.visit(t, r.out)
	r.want(t, resumed)
}

func (r *resumable) visit(t testing.TB, to netip.AddrPort) {
	t.Helper()
	c := Connect(t, to)
	RoundTrip(t, c)
	c.Close()
}

// want checks one more handshake at both ends.
func (r *resumable) want(t testing.TB, resumed bool) {
	t.Helper()
	if resumed {
		r.wantRes++
	} else {
		r.wantFull++
	}
	for i := range r.at {
		Eventually(t, "the handshake is counted", func() bool {
			full, resumed := r.at[i].counts()
			return full+resumed >= r.wantFull+r.wantRes
		})
		if full, resumed := r.at[i].counts(); full != r.wantFull || resumed != r.wantRes {
			t.Fatalf("side %d: %d full and %d resumed handshakes, want %d and %d", i, full, resumed, r.wantFull, r.wantRes)
		}
	}
}

// issue gives a side another certificate.
func (r *resumable) issue(s *side, opts ...testca.Option) {
	s.certs.Set(s.pod.Identity, r.ca.Issue(s.pod.Identity.String(), opts...))
}
