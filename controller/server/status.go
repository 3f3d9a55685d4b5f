package server

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/controller/ca"
	"github.com/ambitmesh/ambit/controller/translate"
	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/objects"
)

// Status is what GET /status answers.
type Status struct {
	Version      string             `json:"version"`
	Ready        bool               `json:"ready"`
	TrustDomain  string             `json:"trustDomain"`
	ClusterID    string             `json:"clusterId"`
	Objects      []translate.Status `json:"objects"`
	Problems     []objects.Problem  `json:"problems"`
	Generations  xds.Versions       `json:"generations"` // highest per kind, as the proxies are told
	Addresses    int                `json:"addresses"`   // workloads and services
	Policies     int                `json:"policies"`
	CapturedPods int                `json:"capturedPods"`
	Proxies      []xds.ProxyStatus  `json:"proxies"`
	CA           ca.Status          `json:"ca"`
	Leads        bool               `json:"leads,omitempty"` // this replica writes objects' status and may rotate the root
	JoinTokens   int                `json:"joinTokens"`      // not used yet
}

// Status returns what became of everything.
func (s *Server) Status() Status {
	tokens, err := s.tokens.Len()
	if err != nil {
		s.cfg.Log.Error("count join tokens", "error", err)
	}
	st := Status{
		Version: s.cfg.Version, Ready: s.cache.Ready(), TrustDomain: s.cfg.TrustDomain, ClusterID: s.cfg.ClusterID,
		Objects: s.mesh.Statuses(), Problems: s.src.Problems(), Generations: s.cache.Versions(),
		Addresses: s.cache.Len(xds.AddressType), Policies: s.cache.Len(xds.AuthorizationType),
		CapturedPods: s.caps.Captured(), Proxies: s.xds.Status(), CA: s.ca.Status(), JoinTokens: tokens,
		Leads: s.cfg.Cluster != nil && s.cfg.Cluster.Leads(),
	}
	if st.Problems == nil {
		st.Problems = []objects.Problem{}
	}
	return st
}

// register adds the metrics of what no other part counts.
func (s *Server) register() error {
	for _, m := range []struct {
		name, help string
		value      func() float64
	}{
		{"ambit_objects_problems", "Files, documents and objects that were refused.", func() float64 { return float64(len(s.src.Problems())) }},
		{"ambit_objects_not_accepted", "Objects that were read and could not be understood.", s.notAccepted},
		{"ambit_join_tokens", "Join tokens that can be used.", func() float64 { n, _ := s.tokens.Len(); return float64(n) }},
	} {
		err := s.cfg.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, m.value))
		if err != nil {
			return fmt.Errorf("register metric: %w", err)
		}
	}
	return nil
}

func (s *Server) notAccepted() (n float64) {
	for _, o := range s.mesh.Statuses() {
		if !o.Accepted {
			n++
		}
	}
	return n
}

// statuses is what became of objects, of those too whose newest version the source refuses: what it
// serves in their place, if anything, says nothing of that.
func (s *Server) statuses() []translate.Status {
	all := s.mesh.Statuses()
	refused := map[translate.Ref]objects.Problem{}
	for _, p := range s.src.Problems() {
		if p.Name != "" {
			refused[translate.Ref{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name}] = p
		}
	}
	for i := range all {
		if p, ok := refused[all[i].Ref]; ok {
			all[i] = refusedStatus(all[i].Ref, p)
			delete(refused, all[i].Ref)
		}
	}
	for ref, p := range refused {
		all = append(all, refusedStatus(ref, p))
	}
	return all
}

func refusedStatus(ref translate.Ref, p objects.Problem) translate.Status {
	standing := map[string]string{"previous": "; the previous version stays in force", "closed": "; until then it allows nothing"}
	return translate.Status{Ref: ref, Message: p.Reason + standing[p.Standing]}
}
