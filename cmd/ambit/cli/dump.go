package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// configDump is the part of a proxy's /config_dump that the CLI itself reads (Istio's shape).
type configDump struct {
	Version struct {
		Version string `json:"version"`
	} `json:"version"`
	Certificates []struct {
		Identity  string `json:"identity"`
		State     string `json:"state"`
		CertChain []struct {
			ExpirationTime time.Time `json:"expirationTime"`
		} `json:"certChain"`
	} `json:"certificates"`
}

func (d configDump) build() string { return d.Version.Version }

func (d configDump) certificates() []certificate {
	out := []certificate{}
	for _, c := range d.Certificates {
		x := certificate{Identity: c.Identity, State: c.State}
		if len(c.CertChain) > 0 {
			x.NotAfter = c.CertChain[0].ExpirationTime
		}
		out = append(out, x)
	}
	return out
}

func (n node) dump(ctx context.Context) (configDump, error) {
	return get[configDump](ctx, n.proxy, "/config_dump", nil)
}

func dumpCmd(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "dump",
		Short: "Print all that each node's ztunnel knows, as JSON: workloads, services, policies, certificates, pods",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			nodes, err := o.nodes(c.Context())
			if err != nil {
				return err
			}
			all, errs := map[string]json.RawMessage{}, []error(nil)
			for _, n := range nodes {
				b, err := n.proxy(c.Context(), "/config_dump", nil)
				if err != nil { // the other nodes' are worth seeing
					errs = append(errs, err)
					continue
				}
				all[n.Name] = b
			}
			return errors.Join(append(errs, printJSON(c.OutOrStdout(), all))...)
		},
	}
}

// versions is what `ambit version -o json` prints.
type versions struct {
	Ambit string                       `json:"ambit"`
	Go    string                       `json:"go"`
	Nodes map[string]componentVersions `json:"nodes,omitempty"`
}

type componentVersions struct {
	Agent   string `json:"agent"`
	Ztunnel string `json:"ztunnel"`
}

func (n node) versions(ctx context.Context) componentVersions {
	s := n.status(ctx)
	v := componentVersions{Agent: "down", Ztunnel: "down"}
	if s.Agent != nil {
		v.Agent = s.Agent.Version
	}
	if s.ZtunnelError == "" {
		v.Ztunnel = s.Ztunnel
	}
	return v
}

func (v versions) table(w interface{ Write([]byte) (int, error) }) error {
	fmt.Fprintf(w, "ambit %s (%s)\n", v.Ambit, v.Go)
	if len(v.Nodes) == 0 {
		return nil
	}
	t := newTable(w, "NODE", "AGENT", "ZTUNNEL")
	for _, name := range slices.Sorted(maps.Keys(v.Nodes)) {
		c := v.Nodes[name]
		t.row(name, c.Agent, c.Ztunnel)
	}
	return t.flush()
}
