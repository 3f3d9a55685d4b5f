package linkerd

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/lab"
)

// answers are what the proxies are told.
type answers struct {
	ca             *authority
	client, server string // identities
	to             netip.Addr
}

// newServer answers proxies, which ask without TLS on loopback.
func newServer(a answers) *grpc.Server {
	return grpc.NewServer(grpc.ForceServerCodec(codec{}), grpc.UnknownServiceHandler(a.handle))
}

// serve answers one pod's proxy on the pod's loopback.
func serve(p *lab.Pod, a answers, tasks *sync.WaitGroup) (*grpc.Server, error) {
	var l net.Listener
	err := p.Do(func() error {
		var err error
		l, err = net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", controlPort))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen for linkerd2-proxy in %s: %w", p.FullName(), err)
	}
	s := newServer(a)
	tasks.Go(func() { s.Serve(l) }) // ends with Stop
	return s, nil
}

// handle answers a call once and, if it is a watch, keeps it open: nothing ever changes.
func (a answers) handle(_ any, s grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(s)
	var req []byte
	if err := s.RecvMsg(&req); err != nil {
		return err
	}
	f, err := parse(req)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	var out []byte
	switch method {
	case "/io.linkerd.proxy.identity.Identity/Certify":
		if out, err = a.certify(f); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		return s.SendMsg(&out)
	case "/io.linkerd.proxy.outbound.OutboundPolicies/Watch":
		out, err = a.outbound(f)
	case "/io.linkerd.proxy.inbound.InboundServerPolicies/WatchPort":
		out = a.inbound(f.ints[2])
	case "/io.linkerd.proxy.destination.Destination/GetProfile":
		err = status.Error(codes.InvalidArgument, "no profile")
	default:
		err = status.Error(codes.Unimplemented, method)
	}
	if err != nil {
		return err
	}
	if err := s.SendMsg(&out); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

// certify is CertifyRequest to CertifyResponse.
func (a answers) certify(f fields) ([]byte, error) {
	der, until, err := a.ca.sign(f.bytes[3], string(f.bytes[1]))
	if err != nil {
		return nil, err
	}
	return append(message(1, der), message(3, integer(1, uint64(until.Unix())))...), nil
}

// outbound is TrafficSpec to OutboundPolicy: one opaque route to the address itself, by TLS through the
// server's inbound port.
func (a answers) outbound(f fields) ([]byte, error) {
	addr, err := parse(f.bytes[2])
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	ip, err := parse(addr.bytes[1])
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	to := a.to.As4()
	if ip.ints[1] != uint64(binary.BigEndian.Uint32(to[:])) {
		return nil, status.Error(codes.NotFound, "no such pod")
	}
	const (
		weight    = 10_000
		queue     = 100
		patience  = 3 // seconds
		inboundTo = inboundPort
	)
	endpoint := [][]byte{
		message(1, message(1, word(1, uint32(ip.ints[1]))), integer(2, addr.ints[2])), integer(3, weight),
		message(5, message(1, text(1, a.server)), message(4, text(1, a.server))),
		message(6, message(3), message(2, integer(1, inboundTo))),
	}
	name := message(1, text(1, "bench")) // metadata of a default
	backend := message(1, name, message(2, endpoint...), message(4, integer(1, queue), message(2, integer(1, patience))))
	rule := message(3, message(1, message(2, message(1, backend))))
	route := message(1, name, rule)
	return append(message(1, message(2, route)), message(2, text(1, "bench"))...), nil
}

// inbound is the Server of a port: opaque, for one identity from anywhere. The proxy's own page is HTTP, and
// loopback always may.
func (a answers) inbound(port uint64) []byte {
	protocol := message(2)
	if port == adminPort {
		protocol = message(4)
	}
	anywhere := message(1, message(1, message(1, word(1, 0))))
	only := message(2, message(2, message(2, message(1, text(1, a.client)))))
	authz := message(3, anywhere, only, message(4, text(1, "bench")))
	label := func(k, v string) []byte { return message(4, text(1, k), text(2, v)) }
	out := append(message(1, protocol), authz...)
	return append(out, append(label("name", "bench"), append(label("kind", "default"), label("group", "")...)...)...)
}
