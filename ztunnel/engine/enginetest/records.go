package enginetest

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// splitter is a TLS connection whose every write becomes many records, some of one byte.
type splitter struct{ *tls.Conn }

func (s splitter) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		m := min(len(b)-n, 1+rand.IntN(1+rand.IntN(3000)))
		m, err = s.Conn.Write(b[n : n+m])
		n += m
	}
	return n, err
}

// smallRecords: a client whose records have nothing to do with frames.
func (by engines) smallRecords(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	tc := tls.Client(Connect(t, m.in), clientTLS(m.ca, "peer"))
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	cc, err := hbone.NewClient(splitter{tc}, hbone.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s, err := cc.Connect(ctx, &hbone.Request{Authority: m.app.String()})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if err := exchange(s, 300_000, 30_000, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// smallRecordsBack: a server of that kind.
func (by engines) smallRecordsBack(t *testing.T) {
	m := by.newMesh(t, closedPort(t))
	m.in = servePeer(t, m.ca, hbone.Config{}, func(c *tls.Conn) net.Conn { return splitter{c} })
	m.start(t)
	var wg sync.WaitGroup
	for range 5 {
		c := Connect(t, m.out)
		wg.Go(func() {
			if err := exchange(c, 300_000, 30_000, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// wildRecords: a peer that forgets its keys loses its connection, and nobody else does.
func (by engines) wildRecords(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	good := Connect(t, m.out)
	RoundTrip(t, good)
	for i, junk := range []string{"GET / HTTP/1.1\r\n\r\n", "\x17\x03\x03\x00\x20aaaaaaaabbbbbbbbccccccccdddddddd", "\x17\x03\x03\xff\xff", "\x15\x03\x03\x00\x02\x01\x00"} {
		tcp := Connect(t, m.in)
		tc := tls.Client(tcp, clientTLS(m.ca, "peer"))
		cc, err := hbone.NewClient(tc, hbone.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := cc.Connect(t.Context(), &hbone.Request{Authority: m.app.String()})
		if err != nil {
			t.Fatal(err)
		}
		RoundTrip(t, s)
		if _, err := io.WriteString(tcp, junk); err != nil {
			t.Fatal(err)
		}
		_ = s.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := s.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("%q: the tunnel goes on: %v", junk, err)
		}
		_ = cc.Close()
		for _, r := range m.server.d.ended(engine.HBONE, i+1) {
			if r.Reason != reason.TunnelLost || r.Peer != id("peer") {
				t.Errorf("%q: %q %s", junk, r.Reason, r.Detail)
			}
		}
		RoundTrip(t, good)
	}
}

// stalledHandshakes: those who begin a handshake and stop hold up nobody else's.
func (by engines) stalledHandshakes(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	mute := ServeTCP(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	var asked atomic.Int32
	m.client.d.Accept = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		if asked.Add(1) <= 20 {
			p.Dial.To = mute
			p.Dial.Peers = []string{id("mute").String()}
		}
		return p
	}
	m.start(t)
	for range 20 {
		_, _ = io.WriteString(Connect(t, m.in), "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
		c := Connect(t, m.out)
		_, _ = c.Write([]byte("x"))
	}
	Eventually(t, "all wait", func() bool {
		return m.server.pod.Usage.Handshakes.Load() >= 20 && asked.Load() == 20
	})
	for range 20 {
		_ = dialPeer(t, m.ca, "peer", m.in).Close()
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { visitEcho(t, m.out) })
	}
	wg.Wait()
}
