package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// OutlierExtension is the name of the Service extension that carries an ambit.mesh.v1.Outlier.
const OutlierExtension = "ambit.dev/outlier"

// newService checks s and turns it into our form. Only addresses of the given network count.
func newService(s *workload.Service, network string) (*Service, error) {
	lb := s.GetLoadBalancing()
	out := &Service{
		Key: s.GetNamespace() + "/" + s.GetHostname(), Name: s.GetName(), Namespace: word(s.GetNamespace()),
		Hostname: s.GetHostname(), SANs: s.GetSubjectAltNames(),
		HasWaypoint: s.GetWaypoint() != nil || len(s.GetWaypoints()) > 0,
		PublishAll:  lb.GetHealthPolicy() == workload.LoadBalancing_ALLOW_ALL,
		LocalOnly: lb.GetMode() == workload.LoadBalancing_STRICT &&
			slices.Contains(lb.GetRoutingPreference(), workload.LoadBalancing_NODE),
		Prefer:      preferred(lb),
		Passthrough: lb.GetMode() == workload.LoadBalancing_PASSTHROUGH,
		Canonical:   s.GetCanonical(),
		Private:     s.GetVisibility() == workload.Service_NAMESPACE,
	}
	var errs [4]error
	errs[0] = checkService(s, out.Key)
	out.VIPs, errs[1] = vips(s.GetAddresses(), network)
	out.Ports, errs[2] = portsOf(s.GetPorts())
	out.Outlier, errs[3] = outlierOf(s.GetExtensions())
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("read service %q: %w", clip(out.Key), err)
	}
	return out, nil
}

// preferred reads what endpoints are preferred by. The narrower a scope, the nearer; what lies between
// those that are known here (a subzone, a network) does not tell endpoints apart.
func preferred(lb *workload.LoadBalancing) (near Near) {
	if lb.GetMode() != workload.LoadBalancing_FAILOVER {
		return Anywhere
	}
	for _, s := range lb.GetRoutingPreference() {
		switch s {
		case workload.LoadBalancing_REGION:
			near = max(near, SameRegion)
		case workload.LoadBalancing_ZONE:
			near = max(near, SameZone)
		case workload.LoadBalancing_NODE:
			near = max(near, SameNode)
		}
	}
	return near
}

func checkService(s *workload.Service, key string) error {
	if !validKey(key) {
		return errors.New("no namespace or hostname, or not well-formed")
	}
	if n := len(s.GetSubjectAltNames()); n > maxSANs {
		return fmt.Errorf("%d names, at most %d", n, maxSANs)
	}
	for _, san := range slices.Concat(s.GetSubjectAltNames(), []string{s.GetName()}) {
		if len(san) > maxString {
			return fmt.Errorf("a name of %d bytes, at most %d", len(san), maxString)
		}
	}
	return nil
}

func vips(in []*workload.NetworkAddress, network string) ([]netip.Prefix, error) {
	if len(in) > maxVIPs {
		return nil, fmt.Errorf("%d addresses, at most %d", len(in), maxVIPs)
	}
	var out []netip.Prefix
	for _, a := range in {
		p, err := vip(a)
		if err != nil {
			return nil, err
		}
		if a.GetNetwork() == network && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

func vip(a *workload.NetworkAddress) (netip.Prefix, error) {
	ip, err := addrOf(a.GetAddress())
	if err != nil {
		return netip.Prefix{}, err
	}
	length := ip.BitLen()
	if a.Length != nil {
		mapped := uint32(len(a.GetAddress())*8 - ip.BitLen()) // 96 for IPv4 in IPv6 form
		if a.GetLength() < mapped || a.GetLength()-mapped > uint32(length) {
			return netip.Prefix{}, fmt.Errorf("prefix length %d of %s", a.GetLength(), ip)
		}
		length = int(a.GetLength() - mapped)
	}
	if length == ip.BitLen() && (ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast()) {
		return netip.Prefix{}, fmt.Errorf("address %s cannot be a service's", ip)
	}
	return netip.PrefixFrom(ip, length).Masked(), nil
}

func outlierOf(in []*workload.Extension) (Outlier, error) {
	for _, e := range in {
		if e.GetName() != OutlierExtension {
			continue
		}
		var o ambit.Outlier
		if err := e.GetConfig().UnmarshalTo(&o); err != nil {
			return Outlier{}, fmt.Errorf("extension %q: %w", OutlierExtension, err)
		}
		if o.GetIntervalMs() < 0 || o.GetBaseEjectionMs() < 0 || o.GetMaxEjectionPercent() > 100 {
			return Outlier{}, fmt.Errorf("extension %q: out of range", OutlierExtension)
		}
		return Outlier{
			ConsecutiveFailures: o.GetConsecutiveFailures(), IntervalMillis: o.GetIntervalMs(),
			BaseEjectionMillis: o.GetBaseEjectionMs(), MaxEjectionPercent: o.GetMaxEjectionPercent(), From: clip(o.GetFrom()),
		}, nil
	}
	return Outlier{}, nil
}
