package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/controller/join"
	"github.com/ambitmesh/ambit/controller/state"
)

func tokenCmd(o *options) *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Admit machines to the mesh", Args: cobra.NoArgs}
	var node string
	var ttl time.Duration
	create := &cobra.Command{
		Use:   "create",
		Short: "Print a token with which one machine can join, once",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if node == "" {
				return errors.New("--node: the name of the machine is needed")
			}
			if err := state.MakeDir(o.stateDir); err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Join(o.stateDir, "root.pem")); err != nil {
				fmt.Fprintf(c.ErrOrStderr(), "note: no controller has used --state-dir %s yet; the token is for one that does\n", o.stateDir)
			}
			token, err := join.Open(o.stateDir, nil).Create(node, ttl)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), token)
			return err
		},
	}
	create.Flags().StringVar(&node, "node", "", "name of the machine")
	create.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long the token can be used")
	c.AddCommand(create)
	return c
}
