package admin

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
)

// Workload is one endpoint of the mesh.
type Workload struct {
	UID               string            `json:"uid"`
	WorkloadIPs       []string          `json:"workloadIps"`
	Waypoint          *Waypoint         `json:"waypoint,omitempty"`
	Protocol          string            `json:"protocol"` // TCP or HBONE
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace"`
	ServiceAccount    string            `json:"serviceAccount"`
	WorkloadName      string            `json:"workloadName"`
	WorkloadType      string            `json:"workloadType"`
	CanonicalName     string            `json:"canonicalName"`
	CanonicalRevision string            `json:"canonicalRevision"`
	ClusterID         string            `json:"clusterId"`
	TrustDomain       string            `json:"trustDomain"`
	Locality          map[string]string `json:"locality"`
	Node              string            `json:"node"`
	Network           string            `json:"network"`
	Status            string            `json:"status"` // Healthy or Unhealthy
	Policies          []string          `json:"authorizationPolicies"`
}

// Waypoint is where layer 7 would be.
type Waypoint struct {
	Destination string `json:"destination"`
}

// Service is a name with addresses and endpoints.
type Service struct {
	Name            string              `json:"name"`
	Namespace       string              `json:"namespace"`
	Hostname        string              `json:"hostname"`
	VIPs            []string            `json:"vips"` // "network/address"
	Ports           map[string]int      `json:"ports"`
	Waypoint        *Waypoint           `json:"waypoint,omitempty"`
	Endpoints       map[string]Endpoint `json:"endpoints"` // by the workload's uid
	SubjectAltNames []string            `json:"subjectAltNames"`
	IPFamilies      string              `json:"ipFamilies"`
	Outlier         *Outlier            `json:"outlier,omitempty"`
}

// Outlier is when endpoints are ejected.
type Outlier struct {
	ConsecutiveFailures uint32 `json:"consecutiveFailures"`
	Interval            string `json:"interval"`
	BaseEjection        string `json:"baseEjection"`
	MaxEjectionPercent  uint32 `json:"maxEjectionPercent"`
	From                string `json:"from"`
}

// Endpoint is a workload as a service's.
type Endpoint struct {
	WorkloadUID string            `json:"workloadUid"`
	Service     string            `json:"service"`
	Port        map[string]uint16 `json:"port"`
}

func workloads(s *mesh.Snapshot) []Workload {
	out := []Workload{}
	for w := range s.Workloads() {
		x := Workload{
			UID: w.UID, WorkloadIPs: texts(w.Addrs), Protocol: protocol(w.Protocol), Name: w.Name, Namespace: w.Namespace,
			ServiceAccount: w.Identity.ServiceAccount, TrustDomain: w.Identity.TrustDomain,
			WorkloadName: w.WorkloadName, WorkloadType: w.WorkloadKind,
			CanonicalName: w.CanonicalName, CanonicalRevision: w.CanonicalRevision, ClusterID: w.Cluster,
			Locality: map[string]string{"region": w.Region, "zone": w.Zone}, Node: w.Node, Network: w.Network,
			Status: "Unhealthy", Policies: append([]string{}, w.Policies...), Waypoint: waypoint(w.HasWaypoint),
		}
		if w.Healthy {
			x.Status = "Healthy"
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Workload) int { return cmp.Compare(a.UID, b.UID) })
	return out
}

func services(s *mesh.Snapshot) []Service {
	out := []Service{}
	for v := range s.Services() {
		x := Service{
			Name: v.Name, Namespace: v.Namespace, Hostname: v.Hostname, VIPs: []string{}, Ports: map[string]int{},
			Endpoints: map[string]Endpoint{}, SubjectAltNames: append([]string{}, v.SANs...), Waypoint: waypoint(v.HasWaypoint),
		}
		for _, p := range v.VIPs {
			text := p.String()
			if p.IsSingleIP() {
				text = p.Addr().String()
			}
			x.VIPs = append(x.VIPs, "/"+text) // this proxy knows one network, whose name is empty
		}
		for _, p := range v.Ports {
			x.Ports[strconv.Itoa(int(p.Service))] = int(p.Target)
		}
		for _, e := range s.Endpoints(v) {
			x.Endpoints[e.Workload.UID] = endpoint(v, e)
		}
		if o := v.Outlier; o != (mesh.Outlier{}) {
			x.Outlier = &Outlier{
				ConsecutiveFailures: o.ConsecutiveFailures, MaxEjectionPercent: o.MaxEjectionPercent, From: o.From,
				Interval: millis(o.IntervalMillis), BaseEjection: millis(o.BaseEjectionMillis),
			}
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Hostname, b.Hostname))
	})
	return out
}

func endpoint(v *mesh.Service, e mesh.Endpoint) Endpoint {
	x := Endpoint{WorkloadUID: e.Workload.UID, Service: v.Key, Port: map[string]uint16{}}
	for _, p := range e.Ports {
		x.Port[strconv.Itoa(int(p.Service))] = p.Target
	}
	return x
}

func millis(n int64) string { return (time.Duration(n) * time.Millisecond).String() }

func protocol(p mesh.Protocol) string {
	if p == mesh.HBONE {
		return "HBONE"
	}
	return "TCP"
}

func waypoint(has bool) *Waypoint {
	if !has {
		return nil
	}
	return &Waypoint{Destination: "unknown"} // the snapshot keeps only that there is one
}

func texts[T fmt.Stringer](list []T) []string {
	out := []string{}
	for _, x := range list {
		out = append(out, x.String())
	}
	return out
}

func cert(c *x509.Certificate) Cert {
	return Cert{
		PEM: identity.EncodeCerts([]*x509.Certificate{c}), SerialNumber: c.SerialNumber.String(),
		ValidFrom: c.NotBefore.UTC().Format(time.RFC3339), ExpirationTime: c.NotAfter.UTC().Format(time.RFC3339),
	}
}
