package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/cmd/ambit/demo"
)

func demoCmd() *cobra.Command {
	var o demo.Options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Build a mesh of two nodes on this machine, walk through it, and leave nothing behind (root)",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out = c.OutOrStdout()
			if o.Bin == "" {
				exe, err := os.Executable()
				if err != nil {
					return fmt.Errorf("find the binaries beside this one: %w", err)
				}
				o.Bin = filepath.Dir(exe)
			}
			return demo.Run(c.Context(), o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.Once, "once", false, "end after the walk; the last line is a summary as JSON")
	f.StringVar(&o.Bin, "bin", "", "directory of the mesh's binaries (default: this one's)")
	f.StringVar(&o.Name, "name", "", "name of the lab (default: unique)")
	return c
}
