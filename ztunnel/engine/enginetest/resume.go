package enginetest

import (
	"crypto/tls"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// resuming are the cases of TLS sessions between two engines.
func resuming() []testCase {
	return []testCase{
		{"Resume", engines.resume},
		{"ResumeOff", engines.resumeOff},
		{"ResumeByKey", engines.resumeByKey},
		{"ResumeNewCert", engines.resumeNewCert},
		{"ResumeNewRoots", engines.resumeNewRoots},
		{"ResumeRootRemoved", engines.resumeRootRemoved},
		{"ResumeExpired", engines.resumeExpired},
		{"ResumeDistrust", engines.resumeDistrust},
		{"ResumeOtherServer", engines.resumeOtherServer},
		{"ResumeStolen", engines.resumeStolen},
		{"ResumePlainPeer", engines.resumePlainPeer},
		{"ResumeOpenSSLClient", engines.resumeOpenSSLClient},
		{"ResumeOpenSSLServer", engines.resumeOpenSSLServer},
	}
}

// resume: a client that comes back proves itself by its session, and is who it was.
func (by engines) resume(t *testing.T) {
	r := by.newResumable(t).start(t)
	r.again(t, false)
	for range 5 {
		r.again(t, true)
	}
	for _, in := range r.server.d.ended(engine.HBONE, 6) {
		if in.Peer != id("client") {
			t.Errorf("peer %v", in.Peer)
		}
	}
	if errs := r.client.d.failed(); len(errs) > 0 {
		t.Errorf("failed attempts: %v", errs)
	}
}

// resumeOff: either end alone can do without.
func (by engines) resumeOff(t *testing.T) {
	for name, off := range map[string]func(*resumable) *side{
		"client": func(r *resumable) *side { return r.client },
		"server": func(r *resumable) *side { return r.server },
	} {
		t.Run(name, func(t *testing.T) {
			r := by.newResumable(t)
			off(r).o.Resume = false
			r.start(t)
			r.again(t, false)
			r.again(t, false)
		})
	}
}

// resumeByKey: a session serves only those peers' names for which it was made.
func (by engines) resumeByKey(t *testing.T) {
	r := by.newResumable(t)
	peers := [][]string{{id("server").String()}, {id("server").String(), id("other").String()}, {id("other").String()}}
	var n atomic.Int32
	r.client.d.Accept = func(*engine.Record) engine.Plan {
		p := r.toTunnel()
		p.Dial.Peers = peers[n.Load()]
		return p
	}
	r.start(t)
	r.again(t, false)
	n.Store(1)
	r.again(t, false)
	n.Store(0)
	r.again(t, true)
	n.Store(2)
	r.wire.cut()
	Eventually(t, "the connection is gone", func() bool { return r.client.pod.Usage.Tunnels.Load() == 0 })
	wantRefused(t, r.out)
	if errs := r.client.d.failed(); len(errs) != 1 || errs[0].Reason != reason.WrongPeer {
		t.Errorf("errors %v", errs)
	}
}

// resumeNewCert: with a new certificate at either end, that one is shown.
func (by engines) resumeNewCert(t *testing.T) {
	r := by.newResumable(t).start(t)
	r.again(t, false)
	for _, s := range []*side{r.client, r.server} {
		r.again(t, true)
		r.issue(s)
		r.again(t, false)
	}
	r.again(t, true)
}

// resumeNewRoots: with other roots at either end, the peer is judged by them anew.
func (by engines) resumeNewRoots(t *testing.T) {
	r := by.newResumable(t).start(t)
	next := testca.New(t).Issue("spiffe://x/ns/y/sa/z").RootCerts
	r.again(t, false)
	for _, s := range []*side{r.client, r.server} {
		r.again(t, true)
		own, _ := s.certs.Get(s.pod.Identity)
		more := *own
		more.RootCerts = slices.Concat(next, own.RootCerts)
		more.Roots = identity.Pool(more.RootCerts)
		s.certs.Set(s.pod.Identity, &more)
		r.again(t, false)
	}
	r.again(t, true)
}

// resumeDistrust: a pod that no longer allows what ran has its peers prove themselves again.
func (by engines) resumeDistrust(t *testing.T) {
	r := by.newResumable(t)
	var refuse atomic.Bool
	r.server.d.Judge = func(*engine.Record) (reason.Reason, bool) { return reason.PolicyChanged, !refuse.Load() }
	r.start(t)
	r.again(t, false)
	r.again(t, true)
	c := Connect(t, r.out)
	RoundTrip(t, c)
	r.server.Recheck()
	RoundTrip(t, c)
	r.again(t, true)
	c = Connect(t, r.out)
	RoundTrip(t, c)
	refuse.Store(true)
	r.server.Recheck()
	refuse.Store(false)
	r.again(t, false)
}

// resumePlainPeer: peers that know no sessions are served as before.
func (by engines) resumePlainPeer(t *testing.T) {
	r := by.newResumable(t).start(t)
	to := r.server.listen(t, engine.HBONE)
	for range 2 {
		cfg := clientTLS(r.ca, "client")
		cfg.SessionTicketsDisabled = true
		c := tls.Client(Connect(t, to), cfg)
		if err := c.HandshakeContext(t.Context()); err != nil || c.ConnectionState().DidResume {
			t.Errorf("resumed %v: %v", c.ConnectionState().DidResume, err)
		}
		c.Close()
	}
}
