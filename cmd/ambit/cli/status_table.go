package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

func (m meshStatus) tables(w io.Writer, now time.Time) error {
	return cmp.Or(nodeTable(w, m.Nodes), podTable(w, m.Nodes), certTable(w, m.Nodes, now), m.Controller.table(w))
}

func nodeTable(w io.Writer, all []nodeStatus) error {
	t := newTable(w, "NODE", "AGENT", "ZTUNNEL", "PODS", "PROBES", "KERNEL")
	for _, s := range all {
		agent, pods, probes, kernel := "down: "+s.AgentError, "", "", ""
		if s.Agent != nil {
			pods, probes, kernel = s.Agent.counted(), s.Agent.Probes.words(), s.Agent.kernel()
			if s.AgentError == "" {
				agent = s.Agent.Version
			}
		}
		ztunnel := s.Ztunnel
		if s.ZtunnelError != "" {
			ztunnel = "down: " + s.ZtunnelError
		}
		t.row(s.Node, agent, ztunnel, pods, probes, kernel)
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

// words says whose probes pass.
func (p probes) words() string {
	switch p.Mode {
	case "cgroup":
		return "from " + p.Cgroup
	case "node":
		return "from any process of the node"
	}
	return strings.TrimSpace(p.Mode + " " + p.Detail)
}

func (a *agentStatus) kernel() string {
	var missing []string
	for _, f := range a.Features {
		if !f.OK {
			missing = append(missing, f.Name+": "+f.Detail)
		}
	}
	if len(missing) > 0 {
		return "without " + strings.Join(missing, "; ")
	}
	if len(a.Features) == 0 {
		return a.Kernel
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
			t.row(p.Namespace+"/"+p.Name, s.Node, p.Desired, p.Actual, p.reasons(), strings.Join(p.Addresses, ","))
		}
	}
	return t.flush()
}

// reasons joins why the pod stands where it stands, and what was asked for it and is not honoured.
func (p pod) reasons() string {
	var out []string
	if p.Why != "" {
		out = append(out, p.Why)
	}
	if len(p.Excluded) > 0 {
		out = append(out, fmt.Sprintf("inbound ports %v are not captured", p.Excluded))
	}
	return strings.Join(append(out, p.Notes...), "; ")
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
