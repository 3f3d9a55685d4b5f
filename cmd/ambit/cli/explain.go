package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// explanation is a proxy's answer to /explain: what it would decide now, by the code that decides.
type explanation struct {
	Source         string              `json:"source"`
	Destination    string              `json:"destination"`
	Path           string              `json:"path"`
	Identity       string              `json:"identity"`
	PeerIdentities []string            `json:"peerIdentities"`
	Service        string              `json:"service"`
	Endpoint       string              `json:"endpoint"`
	Endpoints      []explainedEndpoint `json:"endpoints"`
	Policy         string              `json:"policy"`
	Allowed        bool                `json:"allowed"`
	Reason         string              `json:"reason"`
	Detail         string              `json:"detail"`
	Steps          []string            `json:"steps"`
	DryRun         []string            `json:"dryRun"`
}

type explainedEndpoint struct {
	Workload string `json:"workload"`
	Address  string `json:"address"`
	Ejected  bool   `json:"ejected"`
	Until    until  `json:"until"`
}

// until is a time that may be an empty string.
type until struct{ time.Time }

// UnmarshalJSON accepts RFC 3339, "" and null.
func (u *until) UnmarshalJSON(b []byte) error {
	if s := string(b); s == `""` || s == "null" {
		return nil
	}
	return u.Time.UnmarshalJSON(b)
}

// ErrRefused ends `ambit explain` when the connection would be refused: exit code 3, apart from 1 for a
// question that could not be answered.
var ErrRefused = errors.New("the connection would be refused")

const explainLong = `Say what would become of a connection now: its path, identity, policy and endpoint, allowed or refused
and why. The source pod's node answers, with the code that decides about real connections.

<source>       namespace/pod or an address of a pod
<destination>  namespace/pod, namespace/service, a host name or an address
<port>         of the destination

Exit code: 0 allowed, 3 refused, 1 the question could not be answered.`

func explainCmd(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "explain <source> <destination> <port>",
		Short:   "Say whether a connection would be allowed, by which path, and why",
		Long:    explainLong,
		Example: "  ambit explain shop/web shop/orders 8080",
		Args:    explainArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if p, err := strconv.ParseUint(args[2], 10, 16); err != nil || p == 0 {
				return fmt.Errorf("port %q: want a number from 1 to 65535", args[2])
			}
			e, err := o.explain(c.Context(), args[0], args[1], args[2])
			if err != nil {
				return err
			}
			if err := e.print(c.OutOrStdout(), o.output, time.Now()); err != nil {
				return err
			}
			if !e.Allowed {
				return ErrRefused
			}
			return nil
		},
	}
}

// explain asks the source's node; the nodes that do not have the pod say so.
func (o *options) explain(ctx context.Context, source, destination, port string) (explanation, error) {
	nodes, err := o.nodes(ctx)
	if err != nil {
		return explanation{}, err
	}
	q := url.Values{"source": {source}, "destination": {destination}, "port": {port}}
	var errs []error
	for _, n := range ownersFirst(ctx, nodes, source) {
		e, err := get[explanation](ctx, n.proxy, "/explain", q)
		if err == nil {
			return e, nil
		}
		errs = append(errs, err)
	}
	return explanation{}, errors.Join(errs...)
}

// ownersFirst returns only the node whose agent has the source pod, if one says so, else all.
func ownersFirst(ctx context.Context, nodes []node, source string) []node {
	for _, n := range nodes {
		a, err := n.agent(ctx)
		if err != nil {
			continue
		}
		for _, p := range a.Pods {
			if p.is(source) {
				return []node{n}
			}
		}
	}
	return nodes
}

// is says whether name means this pod: namespace/name or one of its addresses.
func (p pod) is(name string) bool {
	if p.Namespace+"/"+p.Name == name {
		return true
	}
	return slices.Contains(p.Addresses, name)
}

func (e explanation) print(w io.Writer, output string, now time.Time) error {
	if output == "json" {
		return printJSON(w, e)
	}
	verdict := "allowed"
	if !e.Allowed {
		verdict = "refused: " + e.Reason
	}
	t := newTable(w, "VERDICT", verdict)
	for _, r := range [][2]string{
		{"WHY", e.Detail}, {"FROM", e.Source}, {"AS", e.Identity}, {"TO", e.Destination}, {"SERVICE", e.Service},
		{"ENDPOINT", e.Endpoint}, {"PEER", strings.Join(e.PeerIdentities, ", ")}, {"PATH", e.Path}, {"POLICY", e.Policy},
		{"DRY RUN", strings.Join(e.DryRun, "; ")},
	} {
		if r[1] != "" {
			t.row(r[0], r[1])
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	return e.lists(w, now)
}

func (e explanation) lists(w io.Writer, now time.Time) error {
	if len(e.Endpoints) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "ENDPOINT", "ADDRESS", "STATE")
		for _, x := range e.Endpoints {
			t.row(x.Workload, x.Address, x.state(now))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	for i, s := range e.Steps {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%2d. %s\n", i+1, s)
	}
	return nil
}

func (x explainedEndpoint) state(now time.Time) string {
	switch {
	case !x.Ejected:
		return "in use"
	case x.Until.IsZero():
		return "ejected"
	}
	return "ejected for another " + x.Until.Sub(now).Round(time.Second).String()
}

func explainArgs(_ *cobra.Command, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("explain: want a source, a destination and a port, such as: ambit explain shop/web orders.shop 8080 (got %d words)", len(args))
	}
	return nil
}
