package server

import (
	"context"
	"net"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/xds"
)

// namespace is where the proxy's own pod would be.
const namespace = "ambit-system"

// newControl makes the client of the controller. It waits for the node's certificate before it dials.
func (s *Server) newControl() (err error) {
	s.xds, err = xds.NewClient(xds.ClientConfig{
		Dial: func(ctx context.Context) (*grpc.ClientConn, error) {
			select {
			case <-s.node.Ready():
				return s.node.CA.Dial(xds.DialOptions()...)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		Node: s.discoveryNode(), Store: s.store, Log: s.cfg.Log, Registerer: s.cfg.Registry,
		OnConnect: s.certs.Kick, // what could not be had while the controller was away
	})
	return err
}

// discoveryNode says who asks, in the words that Istio's control plane wants too.
func (s *Server) discoveryNode() *discovery.Node {
	ip := sourceTowards(s.cfg.Controller)
	fields := map[string]string{
		"NAMESPACE": namespace, "NAME": s.cfg.Node, "NODE_NAME": s.cfg.Node, "CLUSTER_ID": s.cfg.ClusterID,
		"INSTANCE_IPS": ip, "SERVICE_ACCOUNT": "ambit-ztunnel", "AMBIT_INSTANCE": s.instance, "AMBIT_VERSION": s.cfg.Version,
	}
	meta := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for k, v := range fields {
		meta.Fields[k] = structpb.NewStringValue(v)
	}
	return &discovery.Node{
		Id:      "ztunnel~" + ip + "~" + s.cfg.Node + "." + namespace + "~" + namespace + ".svc.cluster.local",
		Cluster: s.cfg.ClusterID, Metadata: meta,
	}
}

// sourceTowards is the address that packets to target would have. Nothing is sent.
func sourceTowards(target string) string {
	c, err := (&net.Dialer{}).DialContext(context.Background(), "udp", target) // asks the routing table only
	if err != nil {
		return netip.IPv6Loopback().String()
	}
	defer c.Close()
	a, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return netip.IPv6Loopback().String()
	}
	return a.Addr().Unmap().WithZone("").String()
}
