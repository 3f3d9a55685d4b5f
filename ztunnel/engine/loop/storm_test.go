package loop

import (
	"crypto"
	"crypto/tls"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
)

// signer is a key that takes its time, and sees how many handshakes use it at once.
type signer struct {
	crypto.Signer
	now, most, all atomic.Int64
}

func (s *signer) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	defer s.now.Add(-1)
	for n := s.now.Add(1); ; {
		was := s.most.Load()
		if n <= was || s.most.CompareAndSwap(was, n) {
			break
		}
	}
	s.all.Add(1)
	time.Sleep(time.Millisecond)
	return s.Signer.Sign(r, digest, o)
}

// TestStorm: however many peers shake hands, no more of them compute at once than the budget allows, and a
// connection that lives goes on meanwhile.
func TestStorm(t *testing.T) {
	const peers, pings, perPing = 12, 200, 20
	app, ca := enginetest.ServeTCP(t, enginetest.Echo), testca.New(t)
	client, server := newSide(t, ca, "client"), newSide(t, ca, "server")
	own := ca.Issue(server.pod.Identity.String())
	key := &signer{Signer: own.TLS.PrivateKey.(crypto.Signer)}
	own.TLS.PrivateKey = key
	server.certs.Set(server.pod.Identity, own)
	server.d.Tunnel = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Deliver, Dial: engine.Dial{To: app, Pod: server.pod}}
	}
	to := server.listen(t, engine.HBONE)
	client.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Tunnel, Dial: engine.Dial{To: to, Peers: []string{server.pod.Identity.String()},
			Request: &hbone.Request{Authority: app.String()}}}
	}
	live := enginetest.Connect(t, client.listen(t, engine.Outbound))
	exchange(t, live, 1)

	peer := ca.Issue("spiffe://cluster.local/ns/test/sa/peer").TLS
	stop := storm(t, to, peers, &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, InsecureSkipVerify: true,
		Certificates: []tls.Certificate{peer}})
	enginetest.Eventually(t, "the storm is there", func() bool { return key.all.Load() > 2*peers })
	before := key.all.Load()
	for range pings {
		exchange(t, live, 1)
	}
	during := key.all.Load() - before
	if during > perPing*pings {
		t.Errorf("%d handshakes during %d messages", during, pings)
	}
	enginetest.Eventually(t, "the storm goes on", func() bool { return key.all.Load() > before+2*peers })
	stop()
	if n, most := key.most.Load(), int64(cap(server.budget)); n < 1 || n > most {
		t.Errorf("%d handshakes at once, of %d", n, most)
	}
}

// storm has peers shake hands over and over, in full, until it is stopped.
func storm(t *testing.T, to netip.AddrPort, peers int, cfg *tls.Config) (stop func()) {
	t.Helper()
	var stopped atomic.Bool
	var wg sync.WaitGroup
	for range peers {
		wg.Go(func() {
			for !stopped.Load() {
				c, err := tls.Dial("tcp", to.String(), cfg)
				if err != nil {
					t.Errorf("handshake: %v", err)
					return
				}
				_ = c.Close()
			}
		})
	}
	stop = sync.OnceFunc(func() { stopped.Store(true); wg.Wait() })
	t.Cleanup(stop)
	return stop
}
