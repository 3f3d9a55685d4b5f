package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
)

const pageSize = 20_000_000 // more than sockets hold

// toPeer returns a connection through a tunnel to a peer that answers, sends a page and closes the stream
// both ways: END_STREAM, and a reset of what it does not want to hear.
func toPeer(t *testing.T) (*net.TCPConn, *side) {
	t.Helper()
	return toPeerThat(t, func(s *hbone.Stream) {
		_ = s.Respond(200)
		_, _ = s.Write(make([]byte, pageSize))
		_ = s.Close()
	})
}

// toPeerThat returns a connection through a tunnel to a peer that serves one tunnel after the other.
func toPeerThat(t *testing.T, serve func(*hbone.Stream)) (*net.TCPConn, *side) {
	t.Helper()
	ca := testca.New(t)
	client, peer := newSide(t, ca, "client"), enginetest.NewPod("server").Identity
	cert := ca.Issue(peer.String())
	at := enginetest.ServeTCP(t, func(c *net.TCPConn) {
		tc := tls.Server(c, identity.ServerConfig(cert, enginetest.TrustDomain, time.Now))
		if err := tc.Handshake(); err != nil {
			t.Error(err)
			return
		}
		sc := hbone.NewServer(tc, hbone.Config{})
		for {
			s, err := sc.Accept()
			if err != nil {
				return
			}
			serve(s)
		}
	})
	client.d.Accept = func(*engine.Record) engine.Plan {
		return engine.Plan{Action: engine.Tunnel, Dial: engine.Dial{To: at, Peers: []string{peer.String()},
			Request: &hbone.Request{Authority: "10.0.0.1:80"}}}
	}
	return enginetest.Connect(t, client.listen(t, engine.Outbound)), client
}

// TestPeerEndsBothWays: a client that is slow to read still gets all that the peer had sent.
func TestPeerEndsBothWays(t *testing.T) {
	c, s := toPeer(t)
	time.Sleep(50 * time.Millisecond)
	if n, err := io.Copy(io.Discard, c); err != nil || n != pageSize {
		t.Errorf("read %d bytes, %v", n, err)
	}
	_ = c.CloseWrite()
	wantClosed(t, s, "")
}

// TestPeerDoesNotListen: who goes on to send to such a peer is told by a reset.
func TestPeerDoesNotListen(t *testing.T) {
	c, s := toPeer(t)
	if n, err := io.Copy(io.Discard, c); err != nil || n != pageSize {
		t.Errorf("read %d bytes, %v", n, err)
	}
	enginetest.Eventually(t, "writing fails", func() bool {
		_, err := c.Write([]byte("x"))
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	})
	wantClosed(t, s, engine.ResetByServer)
}

func wantClosed(t *testing.T, s *side, detail string) {
	t.Helper()
	select {
	case r := <-s.closed:
		if r.Reason != reason.None || r.Detail != detail {
			t.Errorf("ended with %q %q", r.Reason, r.Detail)
		}
	case <-time.After(time.Minute):
		t.Error("not closed in time")
	}
}
