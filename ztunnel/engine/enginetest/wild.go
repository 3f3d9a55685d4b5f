package enginetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/identity/testca"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// clientTLS is a client of the account.
func clientTLS(ca *testca.CA, account string) *tls.Config {
	own := ca.Issue(id(account).String())
	return identity.ClientConfig(func() (*identity.Cert, error) { return own, nil }, []string{id("server").String()}, time.Now)
}

// dialPeer connects to an engine by the mesh's other endpoint.
func dialPeer(t testing.TB, ca *testca.CA, account string, to netip.AddrPort) *hbone.ClientConn {
	t.Helper()
	cc, _, err := hbone.DialClient(t.Context(), hbone.DialConfig{Addr: to.String(), TLS: clientTLS(ca, account)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

// servePeer echoes tunnels by the mesh's other endpoint, as the server, over what wrap makes of TLS.
func servePeer(t testing.TB, ca *testca.CA, cfg hbone.Config, wrap func(*tls.Conn) net.Conn) netip.AddrPort {
	t.Helper()
	own := ca.Issue(id("server").String())
	conf := identity.ServerConfig(own, TrustDomain, time.Now)
	return ServeTCP(t, func(c *net.TCPConn) {
		tc := tls.Server(c, conf)
		if tc.Handshake() != nil {
			return
		}
		s := hbone.NewServer(wrap(tc), cfg)
		defer s.Close()
		for {
			st, err := s.Accept()
			if err != nil {
				return
			}
			go func() {
				defer st.Close()
				if st.Respond(200) == nil {
					_, _ = io.Copy(st, st)
					_ = st.CloseWrite()
				}
			}()
		}
	})
}

// smallPeer: a peer that takes two streams at once gets as many connections as are needed.
func (by engines) smallPeer(t *testing.T) {
	m := by.newMesh(t, closedPort(t))
	m.in = servePeer(t, m.ca, hbone.Config{MaxStreams: 2}, func(c *tls.Conn) net.Conn { return c })
	m.start(t)
	for range 6 {
		RoundTrip(t, Connect(t, m.out))
	}
	if n := m.client.pod.Usage.Tunnels.Load(); n != 3 {
		t.Errorf("%d connections for 6 tunnels, 2 in each", n)
	}
}

// peerLost: a tunnel connection that breaks resets what it carries.
func (by engines) peerLost(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	w := newWire(t, m.server.listen(t, engine.HBONE), nil)
	m.in = w.addr
	m.start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	w.cut()
	wantReset(t, c)
	for _, r := range []*engine.Record{m.client.d.ended(engine.Outbound, 1)[0], m.server.d.ended(engine.HBONE, 1)[0]} {
		if r.Reason != reason.TunnelLost {
			t.Errorf("%s: %q %s", r.Kind, r.Reason, r.Detail)
		}
	}
}

// headers: what describes a tunnel arrives, both ways.
func (by engines) headers(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo))
	want := hbone.Request{Authority: m.app.String(), Baggage: "k8s.namespace.name=test", Forwarded: "for=10.0.0.1;host=web:80",
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
	m.server.d.Tunnel = func(*engine.Record) engine.Plan {
		p := m.deliver()
		p.Header = []hpack.HeaderField{{Name: "baggage", Value: "k8s.namespace.name=back"}}
		return p
	}
	m.client.d.Accept = func(*engine.Record) engine.Plan {
		p := m.toTunnel()
		p.Dial.Request = &want
		return p
	}
	m.start(t)
	c := Connect(t, m.out)
	RoundTrip(t, c)
	c.Close()
	r := m.server.d.ended(engine.HBONE, 1)[0]
	if got := r.Request; got.Authority != want.Authority || got.Baggage != want.Baggage || got.Forwarded != want.Forwarded || got.Traceparent != want.Traceparent {
		t.Errorf("request %+v", got)
	}
	s, err := dialPeer(t, m.ca, "peer", m.in).Open(t.Context(), &want)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	status, fields, err := s.WaitResponse(ctx)
	if err != nil || status != 200 || hbone.GetHeader(fields, "baggage") != "k8s.namespace.name=back" {
		t.Errorf("status %d, %v, %v", status, fields, err)
	}
}

// badRequest: a request that is none is answered 400 and told of; others of its connection go on.
func (by engines) badRequest(t *testing.T) {
	m := by.newMesh(t, ServeTCP(t, Echo)).start(t)
	tc := tls.Client(Connect(t, m.in), clientTLS(m.ca, "peer"))
	if _, err := io.WriteString(tc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	fr := http2.NewFramer(tc, tc)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = fr.WriteSettings()
	for i, authority := range []string{"no port", m.app.String()} {
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		_ = enc.WriteField(hpack.HeaderField{Name: ":method", Value: "CONNECT"})
		_ = enc.WriteField(hpack.HeaderField{Name: ":authority", Value: authority})
		if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
	}
	status := map[uint32]string{}
	for len(status) < 2 {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			status[h.StreamID] = h.PseudoValue("status")
		}
	}
	if status[1] != "400" || status[3] != "200" {
		t.Errorf("answers: %v", status)
	}
	if r := m.server.d.ended(engine.HBONE, 1)[0]; r.Reason != reason.BadRequest || r.Request != nil || r.Peer != id("peer") {
		t.Errorf("%q %s, request %+v, peer %v", r.Reason, r.Detail, r.Request, r.Peer)
	}
}
