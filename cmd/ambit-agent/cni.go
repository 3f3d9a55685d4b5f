package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ambitmesh/ambit/agent/cni"
	wire "github.com/ambitmesh/ambit/internal/cni"
)

// cniOptions say where the CNI plugin is installed; without directories it is not.
type cniOptions struct{ binDir, confDir, plugin string }

func (o *cniOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.binDir, "cni-bin-dir", "", "with kube, the node's directory of CNI plugins, for example /opt/cni/bin: ambit-cni is put there")
	f.StringVar(&o.confDir, "cni-conf-dir", "", "with kube, the node's directory of CNI configurations, for example /etc/cni/net.d: ambit-cni is chained there")
	f.StringVar(&o.plugin, "cni-plugin", "", "the binary of ambit-cni (default: beside this program)")
}

// besideMe is a file in the directory of this program.
func besideMe(name string) string {
	me, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(me), name)
}

var errHalf = errors.New("--cni-bin-dir and --cni-conf-dir belong together")

// paths reports false if no plugin is to be installed.
func (o *options) cniPaths() (cni.Paths, bool, error) {
	if (o.cni.binDir == "") != (o.cni.confDir == "") {
		return cni.Paths{}, false, errHalf
	}
	return cni.Paths{
		BinDir: o.cni.binDir, ConfDir: o.cni.confDir, Dir: filepath.Join(o.runDir, "cni"), Plugin: cmp.Or(o.cni.plugin, besideMe(wire.Type)),
	}, o.cni.binDir != "", nil
}

func cniCmd(o *options) *cobra.Command {
	c := &cobra.Command{Use: "cni", Short: "Look after the CNI plugin"}
	paths := func() (cni.Paths, error) {
		p, ok, err := o.cniPaths()
		if err == nil && !ok {
			err = errHalf
		}
		return p, err
	}
	c.AddCommand(&cobra.Command{
		Use:   "uninstall",
		Short: "Take the plugin out of the node's CNI chain and remove it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := paths()
			if err != nil {
				return err
			}
			return cni.Uninstall(p)
		},
	}, &cobra.Command{
		Use:   "status",
		Short: "Print what of the plugin is on the node",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := paths()
			if err != nil {
				return err
			}
			found, err := cni.Installed(p)
			for _, f := range found {
				fmt.Fprintln(c.OutOrStdout(), f)
			}
			return err
		},
	})
	return c
}
