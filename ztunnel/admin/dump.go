package admin

import (
	"crypto/x509"
	"net/http"

	"github.com/ambitmesh/ambit/ztunnel/certs"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Dump is the answer of /config_dump, in the shape of Istio's proxy, so that its readers work. Fields
// beyond those are ours.
type Dump struct {
	Workloads     []Workload       `json:"workloads"`
	Services      []Service        `json:"services"`
	Policies      []Policy         `json:"policies"`
	Certificates  []Certificate    `json:"certificates"`
	WorkloadState map[string]State `json:"workloadState"` // by the pod's uid
	Config        any              `json:"config"`
	Version       Version          `json:"version"`
	Generation    uint64           `json:"generation"` // of the snapshot
	Synced        bool             `json:"synced"`
}

// Version is the build.
type Version struct {
	Version string `json:"version"`
}

// Certificate is one identity's. Its key is not shown.
type Certificate struct {
	Identity  string `json:"identity"`
	State     string `json:"state"` // Available, Expired, Initializing or Unavailable: why
	CertChain []Cert `json:"certChain"`
	RootCerts []Cert `json:"rootCerts"`
}

// Cert is one certificate.
type Cert struct {
	PEM            string `json:"pem,omitempty"`
	SerialNumber   string `json:"serialNumber"`
	ValidFrom      string `json:"validFrom"`
	ExpirationTime string `json:"expirationTime"`
}

// State is one pod of this node.
type State struct {
	State       string           `json:"state"` // serving, retiring or unclaimed
	Waiting     string           `json:"waiting,omitempty"`
	Connections PodConnections   `json:"connections"`
	Info        PodInfo          `json:"info"`
	Usage       map[string]int64 `json:"usage"`
}

// PodConnections are the live ones of a pod.
type PodConnections struct {
	Inbound  []PodConnection `json:"inbound"`
	Outbound []PodConnection `json:"outbound"`
}

// PodConnection is one of them.
type PodConnection struct {
	Src         string `json:"src"`
	OriginalDst string `json:"originalDst"`
	ActualDst   string `json:"actualDst"`
}

// PodInfo names a pod.
type PodInfo struct {
	Name           string   `json:"name"`
	Namespace      string   `json:"namespace"`
	TrustDomain    string   `json:"trustDomain"`
	ServiceAccount string   `json:"serviceAccount"`
	Addresses      []string `json:"addresses"`
	Workload       string   `json:"workload"` // the mesh's uid
}

func (a *Admin) configDump(w http.ResponseWriter, _ *http.Request) {
	snap := a.cfg.Store.Snapshot()
	a.write(w, Dump{
		Workloads: workloads(snap), Services: services(snap), Policies: policies(snap),
		Certificates: a.certificates(), WorkloadState: a.states(),
		Config: a.cfg.Settings, Version: Version{a.cfg.Version},
		Generation: snap.Generation(), Synced: snap.Synced(),
	})
}

func (a *Admin) certificates() []Certificate {
	out := []Certificate{}
	for _, c := range a.cfg.Certs() {
		out = append(out, certificate(c))
	}
	return out
}

func certificate(c certs.Status) Certificate {
	out := Certificate{Identity: c.Identity, State: "Available", CertChain: []Cert{}, RootCerts: []Cert{}}
	switch {
	case c.Cert == nil && c.Err != nil:
		out.State = "Unavailable: " + c.Err.Error()
	case c.Cert == nil:
		out.State = "Initializing"
	case c.Expired:
		out.State = "Expired"
	}
	if c.Cert == nil {
		return out
	}
	for _, der := range c.Cert.TLS.Certificate {
		if x, err := x509.ParseCertificate(der); err == nil {
			out.CertChain = append(out.CertChain, cert(x))
		}
	}
	for _, x := range c.Cert.RootCerts {
		out.RootCerts = append(out.RootCerts, cert(x))
	}
	return out
}

func (a *Admin) states() map[string]State {
	out := map[string]State{}
	for _, p := range a.cfg.Pods() {
		s := State{
			State: p.State, Waiting: p.Waiting,
			Connections: PodConnections{Inbound: []PodConnection{}, Outbound: []PodConnection{}},
			Info: PodInfo{
				Name: p.Pod.Name, Namespace: p.Pod.Namespace, TrustDomain: p.Pod.Identity.TrustDomain,
				ServiceAccount: p.Pod.ServiceAccount, Workload: p.Pod.Workload, Addresses: texts(p.Pod.Addrs),
			},
			Usage: map[string]int64{
				"connections": p.Pod.Usage.Connections.Load(), "handshakes": p.Pod.Usage.Handshakes.Load(),
				"tunnels": p.Pod.Usage.Tunnels.Load(), "queuedBytes": p.Pod.Usage.Queued.Load(),
			},
		}
		out[p.Pod.UID] = s
	}
	a.cfg.Each(func(r *engine.Record) bool {
		if s, ok := out[r.Pod.UID]; ok {
			s.Connections.add(r)
			out[r.Pod.UID] = s
		}
		return true
	})
	return out
}

func (p *PodConnections) add(r *engine.Record) {
	c := PodConnection{Src: r.Source.String(), OriginalDst: r.Dest.String(), ActualDst: r.Attempt.Dial.To.String()}
	if r.Kind == engine.Outbound {
		p.Outbound = append(p.Outbound, c)
		return
	}
	p.Inbound = append(p.Inbound, c)
}
