package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unique"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// Bounds of one resource, against a controller that sends nonsense.
const (
	maxString   = 2048
	maxAddrs    = 64
	maxPolicies = 4096
	maxServices = 8192
	maxPorts    = 4096
	maxVIPs     = 4096
	maxSANs     = 4096
)

// Defaults of the workload API, which does not send them.
const (
	defaultTrustDomain = "cluster.local"
	defaultAccount     = "default"
	defaultCluster     = "Kubernetes"
)

// newWorkload checks w and turns it into our form.
func newWorkload(w *workload.Workload) (*Workload, error) {
	out := &Workload{
		UID: w.GetUid(), Name: within(w.GetUid(), w.GetName()), Namespace: word(w.GetNamespace()),
		Node: word(w.GetNode()), Cluster: word(or(w.GetClusterId(), defaultCluster)), Network: word(w.GetNetwork()),
		CanonicalName: word(w.GetCanonicalName()), CanonicalRevision: word(w.GetCanonicalRevision()),
		WorkloadName: word(or(w.GetWorkloadName(), w.GetName())), WorkloadKind: kindOf(w.GetWorkloadType()),
		Region: word(w.GetLocality().GetRegion()), Zone: word(w.GetLocality().GetZone()),
		Healthy:     w.GetStatus() == workload.WorkloadStatus_HEALTHY,
		HostNetwork: w.GetNetworkMode() == workload.NetworkMode_HOST_NETWORK,
		Capacity:    1, Policies: words(w.GetAuthorizationPolicies()),
		HasWaypoint: w.GetWaypoint() != nil,
	}
	if c := w.GetCapacity(); c != nil {
		out.Capacity = c.GetValue()
	}
	var errs [5]error
	errs[0] = checkUID(w)
	out.Protocol, errs[1] = protocolOf(w.GetTunnelProtocol())
	out.Identity, errs[2] = identityOf(w, out.Protocol)
	out.Addrs, errs[3] = workloadAddrs(w.GetAddresses())
	out.Services, errs[4] = membership(w.GetServices())
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("read workload %q: %w", clip(w.GetUid()), err)
	}
	return out, nil
}

func checkUID(w *workload.Workload) error {
	if w.GetUid() == "" {
		return errors.New("no uid")
	}
	for _, s := range []string{w.GetUid(), w.GetName(), w.GetNamespace(), w.GetNode(), w.GetClusterId(), w.GetNetwork(),
		w.GetCanonicalName(), w.GetCanonicalRevision(), w.GetWorkloadName(), w.GetLocality().GetRegion(), w.GetLocality().GetZone()} {
		if len(s) > maxString {
			return fmt.Errorf("a name of %d bytes, at most %d", len(s), maxString)
		}
	}
	if n := len(w.GetAuthorizationPolicies()); n > maxPolicies {
		return fmt.Errorf("%d policies, at most %d", n, maxPolicies)
	}
	if slices.ContainsFunc(w.GetAuthorizationPolicies(), func(s string) bool { return len(s) > maxString }) {
		return fmt.Errorf("a policy name of more than %d bytes", maxString)
	}
	return nil
}

func protocolOf(p workload.TunnelProtocol) (Protocol, error) {
	switch p {
	case workload.TunnelProtocol_NONE:
		return Plain, nil
	case workload.TunnelProtocol_HBONE:
		return HBONE, nil
	}
	return Plain, fmt.Errorf("tunnel protocol %v is not supported", p)
}

// identityOf reads the identity. What is reached in plaintext may lie outside of every namespace
// (gateways of other networks); what is reached by mTLS must have a name that can be verified.
func identityOf(w *workload.Workload, p Protocol) (identity.ID, error) {
	if w.GetNamespace() == "" && p == Plain {
		return identity.ID{}, nil
	}
	id := identity.ID{
		TrustDomain: or(w.GetTrustDomain(), defaultTrustDomain), Namespace: w.GetNamespace(),
		ServiceAccount: or(w.GetServiceAccount(), defaultAccount),
	}
	if _, err := identity.Parse(id.String()); err != nil {
		return identity.ID{}, err
	}
	return identity.ID{TrustDomain: word(id.TrustDomain), Namespace: word(id.Namespace), ServiceAccount: word(id.ServiceAccount)}, nil
}

func workloadAddrs(in [][]byte) ([]netip.Addr, error) {
	if len(in) > maxAddrs {
		return nil, fmt.Errorf("%d addresses, at most %d", len(in), maxAddrs)
	}
	var out []netip.Addr
	for _, b := range in {
		a, err := addrOf(b)
		if err != nil {
			return nil, err
		}
		if a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
			return nil, fmt.Errorf("address %s cannot be a workload's", a)
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out, nil
}

func addrOf(b []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return a, fmt.Errorf("address of %d bytes", len(b))
	}
	return a.Unmap(), nil
}

func membership(in map[string]*workload.PortList) ([]Membership, error) {
	if len(in) > maxServices {
		return nil, fmt.Errorf("member of %d services, at most %d", len(in), maxServices)
	}
	out := make([]Membership, 0, len(in)) // a map takes three times the memory of a list of one
	for key, list := range in {
		if !validKey(key) {
			return nil, fmt.Errorf("service key %q", clip(key))
		}
		ports, err := portsOf(list.GetPorts())
		if err != nil {
			return nil, fmt.Errorf("service %q: %w", clip(key), err)
		}
		out = append(out, Membership{word(key), ports})
	}
	slices.SortFunc(out, func(a, b Membership) int { return strings.Compare(a.Service, b.Service) })
	return out, nil
}

func validKey(key string) bool {
	namespace, hostname, ok := strings.Cut(key, "/")
	return ok && namespace != "" && hostname != "" && !strings.Contains(hostname, "/") && len(key) <= maxString
}

func portsOf(in []*workload.Port) ([]Port, error) {
	if len(in) > maxPorts {
		return nil, fmt.Errorf("%d ports, at most %d", len(in), maxPorts)
	}
	var out []Port
	for _, p := range in {
		if p.GetServicePort() == 0 || p.GetServicePort() > 65535 || p.GetTargetPort() > 65535 {
			return nil, fmt.Errorf("port %d to %d", p.GetServicePort(), p.GetTargetPort())
		}
		out = append(out, Port{Service: uint16(p.GetServicePort()), Target: uint16(p.GetTargetPort())})
	}
	return out, nil
}

func kindOf(t workload.WorkloadType) string {
	switch t {
	case workload.WorkloadType_DEPLOYMENT:
		return "deployment"
	case workload.WorkloadType_CRONJOB:
		return "cronjob"
	case workload.WorkloadType_JOB:
		return "job"
	}
	return "pod"
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// word returns s from one shared copy: a mesh has few namespaces, nodes and accounts, and each
// message brings its own copy.
func word(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(s).Value()
}

// words replaces each by its shared copy, and returns a list without room to grow.
func words(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = word(s)
	}
	return out
}

// within returns s as a part of whole, if that ends so: a uid ends with the name.
func within(whole, s string) string {
	if strings.HasSuffix(whole, s) {
		return whole[len(whole)-len(s):]
	}
	return s
}

// clip keeps error texts short whatever was sent.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
