package server

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/xds"
)

// defaultNamespace is where the proxy's own pod is, or would be.
const defaultNamespace = "ambit-system"

// newControl makes the client of the controller. It waits for the node's certificate, if it needs one,
// before it dials.
func (s *Server) newControl() (err error) {
	s.xds, err = xds.NewClient(xds.ClientConfig{
		Dial: func(ctx context.Context) (*grpc.ClientConn, error) {
			select {
			case <-s.node.Ready():
				return s.dial(xds.DialOptions()...)
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
	ip := s.cfg.PodIP
	if ip == "" {
		ip = sourceTowards(s.cfg.Controller)
	}
	name, namespace := cmp.Or(s.cfg.PodName, s.cfg.Node), cmp.Or(s.cfg.PodNamespace, defaultNamespace)
	fields := map[string]string{
		"NAMESPACE": namespace, "NAME": name, "NODE_NAME": s.cfg.Node, "CLUSTER_ID": s.cfg.ClusterID,
		"INSTANCE_IPS": ip, "AMBIT_INSTANCE": s.instance, "AMBIT_VERSION": s.cfg.Version,
	}
	meta := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for k, v := range fields {
		meta.Fields[k] = structpb.NewStringValue(v)
	}
	return &discovery.Node{
		Id:      "ztunnel~" + ip + "~" + name + "." + namespace + "~" + namespace + ".svc.cluster.local",
		Cluster: s.cfg.ClusterID, Metadata: meta,
	}
}

// sourceTowards is the address that packets to target would have. Nothing is sent.
func sourceTowards(target string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // a name may be asked for
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", target) // asks the routing table only
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
