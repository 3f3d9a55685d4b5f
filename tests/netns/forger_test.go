package netns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/controller/auth"
	"github.com/ambitmesh/ambit/controller/ca"
	"github.com/ambitmesh/ambit/controller/join"
	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/lab"
	capb "github.com/ambitmesh/ambit/internal/meshpb/ca"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	workloadpb "github.com/ambitmesh/ambit/internal/meshpb/workload"
)

const trustDomain = "cluster.local"

// forger is a controller of the real parts in the place of the lab's: it says what no object can make the
// real one say.
type forger struct {
	*shop
	ca    *ca.CA
	cache *xds.Cache
	xds   *xds.Server
	said  uint64   // how often anything was said
	named []string // the policies that there are
	lost  string   // the type whose responses never arrive
	stop  func()   // ends serve
}

// forge stops the lab's controller and takes its place and its state directory.
func forge(t *testing.T, s *shop) *forger {
	t.Helper()
	must(t, s.Controller().Kill())
	c, err := ca.Open(ca.Options{Dir: s.ControllerDir(), TrustDomain: trustDomain})
	must(t, err)
	f := &forger{shop: s, ca: c, cache: xds.NewCache()}
	f.name(t, nil)
	f.serve(t)
	f.settle(t)
	return f
}

// serve begins to serve. It ends with stop, or else with the test.
func (f *forger) serve(t *testing.T) {
	t.Helper()
	g := f.build(t)
	var l net.Listener
	must(t, f.ControllerHost().Do(func() (err error) {
		l, err = net.Listen("tcp", ":15012")
		return err
	}))
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(l) }()
	f.stop = sync.OnceFunc(func() {
		g.Stop()
		if err := <-ended; err != nil {
			f.t.Error("the forged controller:", err)
		}
	})
	f.t.Cleanup(f.stop)
}

func (f *forger) build(t *testing.T) *grpc.Server {
	t.Helper()
	log := slog.New(slog.NewTextHandler(f.t.Output(), nil))
	callers := &auth.Authenticator{TrustDomain: trustDomain, Now: time.Now}
	captures := xds.NewCaptures(xds.CaptureOptions{})
	captures.Restore(nil) // that all that are captured stay so is for the messages to say
	var err error
	f.xds, err = xds.NewServer(xds.Config{Cache: f.cache, Captures: captures, Log: log, Identify: func(c context.Context) (xds.Caller, error) {
		caller, err := callers.Caller(c)
		return xds.Caller{Node: caller.Node, Until: caller.Until}, err
	}})
	must(t, err)
	signer, err := ca.NewService(ca.ServiceConfig{CA: f.ca, Callers: callers, Tokens: join.Open(f.ControllerDir(), time.Now), Pods: f,
		TrustDomain: trustDomain, Log: log})
	must(t, err)
	own := f.certificate(t)
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(identity.NodeServerConfig(func() (*identity.Cert, error) { return own, nil }, time.Now))),
		grpc.StreamInterceptor(losing(f.lost)), grpc.WaitForHandlers(true))
	discovery.RegisterAggregatedDiscoveryServiceServer(g, f.xds)
	capb.RegisterIstioCertificateServiceServer(g, signer)
	return g
}

func (f *forger) certificate(t *testing.T) *identity.Cert {
	t.Helper()
	at := netip.MustParseAddrPort(f.ControllerAddress()).Addr()
	uri := identity.Controller(trustDomain).String()
	key, _, err := identity.NewCSR(uri)
	must(t, err)
	chain, _, err := f.ca.Issue(key.Public(), ca.Names{URI: uri, IPs: []net.IP{at.AsSlice()}}, 0)
	must(t, err)
	cert, err := identity.FromPEM(chain, key)
	must(t, err)
	return cert
}

// losing loses the responses of a type.
func losing(typeURL string) grpc.StreamServerInterceptor {
	return func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
		return h(srv, lossy{s, typeURL})
	}
}

type lossy struct {
	grpc.ServerStream

	lost string
}

func (l lossy) SendMsg(m any) error {
	if r, ok := m.(*discovery.DeltaDiscoveryResponse); ok && r.GetTypeUrl() == l.lost {
		return nil
	}
	return l.ServerStream.SendMsg(m)
}

// Runs implements ca.Pods.
func (f *forger) Runs(node string, id identity.ID) bool {
	return slices.ContainsFunc(f.Pods(), func(p *lab.Pod) bool { return p.Node.Name == node && p.Identity() == id.String() })
}

func (f *forger) say(changes ...xds.Change) {
	f.said++
	f.cache.Apply(xds.Versions{"Forged": f.said}, changes...)
}

// name says which pods there are, and that policies are named by some of them.
func (f *forger) name(t *testing.T, pods []*lab.Pod, policies ...string) {
	t.Helper()
	var all []xds.Resource
	for _, p := range f.Pods() {
		w := describe(p)
		if slices.Contains(pods, p) {
			w.AuthorizationPolicies = policies
		}
		r, err := xds.NewResource(w.GetUid(), &workloadpb.Address{Type: &workloadpb.Address_Workload{Workload: w}})
		must(t, err)
		all = append(all, r)
	}
	f.say(xds.Change{TypeURL: xds.AddressType, Upsert: all})
}

func describe(p *lab.Pod) *workloadpb.Workload {
	w := &workloadpb.Workload{Uid: "Kubernetes//Pod/" + p.FullName(), Name: p.Name, Namespace: p.Namespace, Node: p.Node.Name,
		ServiceAccount: p.Name, TrustDomain: trustDomain, ClusterId: "Kubernetes", WorkloadName: p.Name, CanonicalName: p.Name}
	if p.Namespace == "shop" {
		w.TunnelProtocol = workloadpb.TunnelProtocol_HBONE
	}
	for _, a := range p.Addresses() {
		w.Addresses = append(w.Addresses, a.AsSlice())
	}
	return w
}

// policies adds or replaces policies.
func (f *forger) policies(t *testing.T, all ...*security.Authorization) {
	t.Helper()
	for _, a := range all {
		r, err := xds.NewResource(a.GetNamespace()+"/"+a.GetName(), a)
		must(t, err)
		f.raw(r.Name, r.Body, r.Version)
	}
}

// raw sends anything as a policy.
func (f *forger) raw(name string, body *anypb.Any, version string) {
	f.named = append(f.named, name)
	f.say(xds.Change{TypeURL: xds.AuthorizationType, Upsert: []xds.Resource{{Name: name, Version: version, Body: body}}})
}

// clear takes back all policies.
func (f *forger) clear(t *testing.T) {
	t.Helper()
	f.name(t, nil)
	f.settle(t)
	if len(f.named) == 0 {
		return
	}
	f.say(xds.Change{TypeURL: xds.AuthorizationType, Remove: f.named})
	f.named = nil
	eventually(t, f.removed)
}

// removed is nil if both proxies have answered the last removal, which the status alone does not tell.
func (f *forger) removed() error {
	want := xds.Versions{"Forged": f.said}.String()
	for _, p := range f.xds.Status() {
		if got := p.Types[xds.AuthorizationType].Version; got != want {
			return fmt.Errorf("the proxy of %s knows the policies of %s, not %s", p.Node, got, want)
		}
	}
	return f.answered(xds.AuthorizationType)
}

// settle waits until both proxies have answered all that was said.
func (f *forger) settle(t *testing.T) {
	t.Helper()
	eventually(t, func() error { return f.answered(xds.AddressType, xds.AuthorizationType) })
}

// answered is nil if both proxies have answered all of some types.
func (f *forger) answered(types ...string) error {
	all := f.xds.Status()
	if len(all) != 2 {
		return fmt.Errorf("%d proxies are connected, want 2", len(all))
	}
	for _, p := range all {
		for _, typeURL := range types {
			if !p.Types[typeURL].Synced {
				return fmt.Errorf("the proxy of %s has not answered all of %s: %+v", p.Node, typeURL, p.Types)
			}
		}
	}
	return nil
}

// refusedBy returns the nodes whose proxies have refused a policy.
func (f *forger) refusedBy(name string) (nodes []string) {
	for _, p := range f.xds.Status() {
		for _, r := range p.Refusals {
			if r.Type == xds.AuthorizationType && r.Resource == name && r.Detail != "" {
				nodes = append(nodes, p.Node)
			}
		}
	}
	return nodes
}
