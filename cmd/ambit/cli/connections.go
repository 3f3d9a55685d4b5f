package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// connection is one live connection of a node's ztunnel, as its /connections tells it.
type connection struct {
	ID          uint64    `json:"id"`
	Kind        string    `json:"kind"` // outbound, inbound or hbone
	Pod         string    `json:"pod"`
	Source      endpoint  `json:"source"`
	Destination endpoint  `json:"destination"`
	Path        string    `json:"path"` // tunnel, plain or same_node
	Policy      string    `json:"policy"`
	Sent        uint64    `json:"sent"`     // bytes towards the destination
	Received    uint64    `json:"received"` // bytes towards the source
	Opened      time.Time `json:"opened"`
}

type endpoint struct {
	Address   string `json:"address"`
	Workload  string `json:"workload"`
	Namespace string `json:"namespace"`
	Identity  string `json:"identity"`
	Service   string `json:"service,omitempty"`
}

type nodeConnections struct {
	Node        string       `json:"node"`
	Connections []connection `json:"connections"`
}

func connectionsCmd(o *options) *cobra.Command {
	var only string
	c := &cobra.Command{
		Use:   "connections",
		Short: "List live connections: who speaks to whom, by which path, under which policy",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			nodes, err := o.nodes(c.Context())
			if err != nil {
				return err
			}
			all, errs := []nodeConnections{}, []error(nil)
			for _, n := range nodes {
				x, err := get[nodeConnections](c.Context(), n.proxy, "/connections", nil)
				if err != nil { // the other nodes' are worth seeing
					errs = append(errs, err)
					continue
				}
				all = append(all, nodeConnections{n.Name, matching(x.Connections, only)})
			}
			if o.output == "json" {
				return errors.Join(append(errs, printJSON(c.OutOrStdout(), all))...)
			}
			return errors.Join(append(errs, connectionTable(c.OutOrStdout(), all, time.Now()))...)
		},
	}
	c.Flags().StringVar(&only, "pod", "", "only connections from or to this pod (namespace/name)")
	return c
}

// matching keeps the connections of one pod, all if pod is empty, oldest first.
func matching(all []connection, pod string) []connection {
	out := []connection{}
	for _, c := range all {
		if pod == "" || c.Pod == pod || c.Source.name() == pod || c.Destination.name() == pod {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b connection) int { return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.ID, b.ID)) })
	return out
}

// name is what a person calls the endpoint: its workload, else its address.
func (e endpoint) name() string {
	if e.Workload == "" {
		return e.Address
	}
	return e.Namespace + "/" + e.Workload
}

// place is the name, with the port.
func (e endpoint) place() string {
	if i := strings.LastIndexByte(e.Address, ':'); e.Workload != "" && i >= 0 {
		return e.name() + e.Address[i:]
	}
	return e.name()
}

func connectionTable(w io.Writer, all []nodeConnections, now time.Time) error {
	t := newTable(w, "NODE", "KIND", "FROM", "TO", "SERVICE", "PATH", "PEER IDENTITY", "POLICY", "SENT", "RECEIVED", "AGE")
	for _, n := range all {
		for _, c := range n.Connections {
			t.row(n.Node, c.Kind, c.Source.name(), c.Destination.place(), c.Destination.Service, c.Path, c.peer(), c.Policy,
				strconv.FormatUint(c.Sent, 10), strconv.FormatUint(c.Received, 10), age(now.Sub(c.Opened)))
		}
	}
	return t.flush()
}

// peer is the identity at the far end, seen from the pod.
func (c connection) peer() string {
	if c.Kind == "outbound" {
		return c.Destination.Identity
	}
	return c.Source.Identity
}

// age rounds to what a person compares: seconds, minutes, hours, days.
func age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
