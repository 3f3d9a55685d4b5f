package enginetest

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// peerFlood: peers that go at every stage of a connection leave nothing, and hold up nobody.
func (by engines) peerFlood(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	good := Connect(t, m.out)
	RoundTrip(t, good)
	conf := clientTLS(m.ca, "peer")
	goroutines, fds := runtime.NumGoroutine(), openFDs(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 40 {
				rude(m.in, conf, m.app.String(), rand.IntN(6))
			}
		})
	}
	for range 50 {
		RoundTrip(t, good)
		visitEcho(t, m.out)
	}
	wg.Wait()
	u := &m.server.pod.Usage
	Eventually(t, "nothing is left", func() bool {
		runtime.GC()
		return u.Tunnels.Load() == 1 && u.Handshakes.Load() == 0 && u.Connections.Load() == 1 &&
			runtime.NumGoroutine() <= goroutines && openFDs(t) <= fds
	})
	RoundTrip(t, good)
}

// rude is a peer that goes without a word at a stage of its connection.
func rude(to netip.AddrPort, conf *tls.Config, app string, stage int) {
	nc, err := net.Dial("tcp", to.String())
	if err != nil {
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	if rand.IntN(2) == 0 {
		_ = nc.(*net.TCPConn).SetLinger(0)
	}
	switch stage {
	case 0:
		return
	case 1:
		_, _ = io.WriteString(nc, "\x16\x03\x01\x02\x00\x01")
		return
	}
	tc := tls.Client(nc, conf)
	if err := tc.Handshake(); err != nil || stage == 2 {
		return
	}
	if stage == 3 {
		_, _ = io.WriteString(tc, http2.ClientPreface[:5+rand.IntN(19)])
		return
	}
	cc, err := hbone.NewClient(tc, hbone.Config{})
	if err != nil {
		return
	}
	for range 1 + rand.IntN(5) {
		s, err := cc.Open(context.Background(), &hbone.Request{Authority: app})
		if err != nil {
			break
		}
		_, _ = s.Write(make([]byte, rand.IntN(10_000)))
		if stage == 5 {
			_, _ = s.Read(make([]byte, 1))
		}
	}
	nc.Close() // under the connection
	_ = cc.Close()
}
