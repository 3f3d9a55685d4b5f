package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// nodeStatus is what `ambit status -o json` prints of one node. Errors say which part did not answer.
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
	Pods     []pod     `json:"pods"`
	Proxies  []proxy   `json:"proxies"`
}

type feature struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

type pod struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       string    `json:"uid"`
	Desired   string    `json:"desired"`
	Actual    string    `json:"actual"`
	Why       string    `json:"why"`
	Addresses []string  `json:"addresses"`
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
			nodes, err := o.nodes()
			if err != nil {
				return err
			}
			var all []nodeStatus
			for _, n := range nodes {
				all = append(all, n.status(c.Context()))
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), all)
			}
			return statusTables(c.OutOrStdout(), all, time.Now())
		},
	}
}

func (n node) status(ctx context.Context) nodeStatus {
	s := nodeStatus{Node: n.Name, Certificates: []certificate{}}
	if a, err := get[agentStatus](ctx, n, agentSocket, "/status", nil); err != nil {
		s.AgentError = err.Error()
	} else {
		s.Agent, s.Node = &a, cmp.Or(a.Node, n.Name)
	}
	if d, err := n.dump(ctx); err != nil {
		s.ZtunnelError = err.Error()
	} else {
		s.Ztunnel, s.Certificates = d.build(), d.certificates()
	}
	return s
}

func statusTables(w io.Writer, all []nodeStatus, now time.Time) error {
	return cmp.Or(nodeTable(w, all), podTable(w, all), certTable(w, all, now))
}

func nodeTable(w io.Writer, all []nodeStatus) error {
	t := newTable(w, "NODE", "AGENT", "ZTUNNEL", "PODS", "KERNEL")
	for _, s := range all {
		agent, pods, kernel := "down: "+s.AgentError, "", ""
		if s.Agent != nil {
			agent, pods, kernel = s.Agent.Version, s.Agent.counted(), s.Agent.kernel()
		}
		ztunnel := s.Ztunnel
		if s.ZtunnelError != "" {
			ztunnel = "down: " + s.ZtunnelError
		}
		t.row(s.Node, agent, ztunnel, pods, kernel)
	}
	return t.flush()
}

func (a *agentStatus) counted() string {
	n := 0
	for _, p := range a.Pods {
		if p.Actual == "enrolled" {
			n++
		}
	}
	return fmt.Sprintf("%d of %d enrolled", n, len(a.Pods))
}

func (a *agentStatus) kernel() string {
	var missing []string
	for _, f := range a.Features {
		if !f.OK {
			missing = append(missing, f.Name+": "+f.Detail)
		}
	}
	if len(missing) > 0 {
		return "missing " + strings.Join(missing, "; ")
	}
	return fmt.Sprintf("%d features, all there", len(a.Features))
}

func podTable(w io.Writer, all []nodeStatus) error {
	fmt.Fprintln(w)
	t := newTable(w, "POD", "NODE", "DESIRED", "ACTUAL", "WHY", "ADDRESSES")
	for _, s := range all {
		if s.Agent == nil {
			continue
		}
		pods := slices.SortedFunc(slices.Values(s.Agent.Pods), func(a, b pod) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
		for _, p := range pods {
			t.row(p.Namespace+"/"+p.Name, s.Node, p.Desired, p.Actual, p.Why, strings.Join(p.Addresses, ","))
		}
	}
	return t.flush()
}

func certTable(w io.Writer, all []nodeStatus, now time.Time) error {
	fmt.Fprintln(w)
	t := newTable(w, "IDENTITY", "NODE", "STATE", "EXPIRES IN")
	for _, s := range all {
		for _, c := range s.Certificates {
			left := ""
			if !c.NotAfter.IsZero() {
				left = c.NotAfter.Sub(now).Round(time.Second).String()
			}
			t.row(c.Identity, s.Node, c.State, left)
		}
	}
	return t.flush()
}
