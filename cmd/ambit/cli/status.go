package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"
)

// meshStatus is what `ambit status -o json` prints.
type meshStatus struct {
	Nodes      []nodeStatus      `json:"nodes"`
	Controller *controllerStatus `json:"controller,omitempty"` // nil: none on this machine
}

// nodeStatus is one node. Errors say which part did not answer.
type nodeStatus struct {
	Node         string        `json:"node"`
	Agent        *agentStatus  `json:"agent,omitempty"`
	AgentError   string        `json:"agentError,omitempty"`
	Certificates []certificate `json:"certificates"`
	Ztunnel      string        `json:"ztunnel,omitempty"`
	ZtunnelError string        `json:"ztunnelError,omitempty"`
}

// agentStatus is the part of the agent's /status that is shown.
type agentStatus struct {
	Version  string    `json:"version"`
	Instance string    `json:"instance"`
	Node     string    `json:"node"`
	Features []feature `json:"features"`
	Kernel   string    `json:"kernel,omitempty"` // in a cluster, where the features are not told
	Pods     []pod     `json:"pods"`
	Proxies  []proxy   `json:"proxies"`
	Probes   probes    `json:"probes"`
}

// probes says whose connections reach enrolled pods past the proxy.
type probes struct {
	Mode   string `json:"mode"`
	Cgroup string `json:"cgroup"`
	Detail string `json:"detail"`
}

type feature struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"`
	Detail   string `json:"detail"`
}

type pod struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       string    `json:"uid"`
	Desired   string    `json:"desired"`
	Actual    string    `json:"actual"`
	Why       string    `json:"why"`
	Addresses []string  `json:"addresses"`
	Excluded  []uint16  `json:"excludedInbound,omitempty"`
	Notes     []string  `json:"notes,omitempty"`
	Since     time.Time `json:"since"`
}

type proxy struct {
	PID     int    `json:"pid"`
	Version int    `json:"version"`
	Build   string `json:"build"`
	Active  bool   `json:"active"`
}

// certificate is one entry of a proxy's config dump.
type certificate struct {
	Identity string    `json:"identity"`
	State    string    `json:"state"`
	NotAfter time.Time `json:"notAfter"`
}

func statusCmd(o *options, _ string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what is enrolled, what is not and why, certificates, versions and kernel features",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			nodes, err := o.nodes(c.Context())
			if err != nil {
				return err
			}
			var all []nodeStatus
			for _, n := range nodes {
				all = append(all, n.status(c.Context()))
			}
			m := meshStatus{Nodes: all, Controller: o.controller(c.Context())}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), m)
			}
			return m.tables(c.OutOrStdout(), time.Now())
		},
	}
}

func (n node) status(ctx context.Context) nodeStatus {
	s := nodeStatus{Node: n.Name, Certificates: []certificate{}}
	a, err := n.agent(ctx)
	if err != nil {
		s.AgentError = err.Error()
	}
	if err == nil || len(a.Pods) > 0 { // a cluster tells of the pods of an agent that is down
		s.Agent, s.Node = &a, cmp.Or(a.Node, n.Name)
	}
	if d, err := n.dump(ctx); err != nil {
		s.ZtunnelError = err.Error()
	} else {
		s.Ztunnel, s.Certificates = d.build(), d.certificates()
	}
	return s
}
