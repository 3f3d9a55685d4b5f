package linkerd

import (
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ambitmesh/ambit/tests/bench/peers/nft"
)

const (
	clientName = "client.plain.serviceaccount.identity.linkerd.cluster.local"
	serverName = "server.plain.serviceaccount.identity.linkerd.cluster.local"
)

// plane serves answers on loopback and returns a way to ask it.
func plane(t *testing.T) (*authority, *grpc.ClientConn) {
	t.Helper()
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(answers{ca: ca, client: clientName, server: serverName, to: netip.MustParseAddr("10.2.0.11")})
	go s.Serve(l)
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return ca, conn
}

// watch opens a call and returns its first answer.
func watch(t *testing.T, conn *grpc.ClientConn, method string, req []byte) (out []byte, err error) {
	t.Helper()
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(&req); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	err = s.RecvMsg(&out)
	return out, err
}

func TestRulesAreUnderstood(t *testing.T) {
	for server, text := range rules {
		err := nft.Check(t.Context(), text)
		if errors.Is(err, nft.ErrCannotCheck) {
			t.Skip(err)
		}
		if err != nil {
			t.Errorf("server %v: %v", server, err)
		}
	}
}

func TestCertifySignsTheRequest(t *testing.T) {
	ca, conn := plane(t)
	dir := t.TempDir()
	if err := ca.documents(dir, serverName); err != nil {
		t.Fatal(err)
	}
	csr, err := os.ReadFile(filepath.Join(dir, "csr.der"))
	if err != nil {
		t.Fatal(err)
	}
	req := append(text(1, serverName), message(3, csr)...)
	var out []byte
	if err := conn.Invoke(t.Context(), "/io.linkerd.proxy.identity.Identity/Certify", &req, &out); err != nil {
		t.Fatal(err)
	}
	f, err := parse(out)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(f.bytes[1])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.pem)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: serverName}); err != nil {
		t.Error(err)
	}
	until, err := parse(f.bytes[3])
	if err != nil || int64(until.ints[1]) != leaf.NotAfter.Unix() {
		t.Errorf("valid until %d, %v; the certificate until %d", until.ints[1], err, leaf.NotAfter.Unix())
	}
}

// inner follows numbers into a message.
func inner(t *testing.T, b []byte, numbers ...int) fields {
	t.Helper()
	f, err := parse(b)
	for _, n := range numbers {
		if err == nil {
			f, err = parse(f.bytes[protowire.Number(n)])
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOutboundLeadsToTheServerOnly(t *testing.T) {
	_, conn := plane(t)
	to := func(ip uint32) []byte { return message(2, message(1, word(1, ip)), integer(2, 8001)) }
	out, err := watch(t, conn, "/io.linkerd.proxy.outbound.OutboundPolicies/Watch", to(10<<24|2<<16|11))
	if err != nil {
		t.Fatal(err)
	}
	// protocol, opaque, route, rule, distribution, first available, route backend, backend, forward
	endpoint := []int{1, 2, 1, 3, 1, 2, 1, 1, 2}
	if got := inner(t, out, append(endpoint, 5, 1)...); string(got.bytes[1]) != serverName {
		t.Errorf("identity %q", got.bytes[1])
	}
	if got := inner(t, out, append(endpoint, 6, 2)...); got.ints[1] != inboundPort {
		t.Errorf("inbound port %d", got.ints[1])
	}
	if got := inner(t, out, append(endpoint, 1)...); got.ints[2] != 8001 {
		t.Errorf("port %d", got.ints[2])
	}
	if _, err := watch(t, conn, "/io.linkerd.proxy.outbound.OutboundPolicies/Watch", to(1)); status.Code(err) != codes.NotFound {
		t.Errorf("another address: %v", err)
	}
}

func TestInboundAllowsTheClientOnly(t *testing.T) {
	_, conn := plane(t)
	out, err := watch(t, conn, "/io.linkerd.proxy.inbound.InboundServerPolicies/WatchPort", integer(2, 8001))
	if err != nil {
		t.Fatal(err)
	}
	// authorization, authentication, mesh TLS, identities, identity
	if got := inner(t, out, 3, 2, 2, 2, 1); string(got.bytes[1]) != clientName {
		t.Errorf("allowed %q", got.bytes[1])
	}
	if _, ok := inner(t, out, 1).bytes[2]; !ok {
		t.Error("the protocol is not opaque")
	}
	out, err = watch(t, conn, "/io.linkerd.proxy.inbound.InboundServerPolicies/WatchPort", integer(2, adminPort))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := inner(t, out, 1).bytes[4]; !ok {
		t.Error("the protocol of the proxy's own page is not HTTP")
	}
}
