package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ambitmesh/ambit/controller/server"
)

func caCmd(o *options) *cobra.Command {
	c := &cobra.Command{Use: "root", Short: "Show and replace the root of trust", Args: cobra.NoArgs}
	show := &cobra.Command{
		Use:   "show",
		Short: "Print the trust bundle, in PEM",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := os.ReadFile(filepath.Join(o.stateDir, "root.pem"))
			if err != nil {
				return fmt.Errorf("show root (a controller makes it at its first start): %w", err)
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	}
	c.AddCommand(show, rotateCmd(o))
	return c
}

func rotateCmd(o *options) *cobra.Command {
	var step string
	var force bool
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Take a step of a rotation: prepare, activate, finish",
		Long: "Replace the root without cutting anybody off:\n" +
			"  prepare   make a new root, which is trusted from then on\n" +
			"  activate  sign with the new root\n" +
			"  finish    drop the old root; refused while certificates of its time live",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch step {
			case "prepare", "activate", "finish":
			default:
				return fmt.Errorf("--step %q: want prepare, activate or finish", step)
			}
			socket := cmp.Or(o.adminSocket, filepath.Join(o.stateDir, server.AdminSocket))
			out, err := post(c.Context(), socket, "/root/rotate?"+url.Values{"step": {step}, "force": {strconv.FormatBool(force)}}.Encode())
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(out)
			return err
		},
	}
	c.Flags().StringVar(&step, "step", "", "prepare, activate or finish")
	c.Flags().BoolVar(&force, "force", false, "finish although certificates of the old root live")
	return c
}

// post asks the running controller.
func post(ctx context.Context, socket, path string) ([]byte, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://controller"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the controller (does it run?): %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("ask the controller: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the controller refuses: %s", strings.TrimSpace(string(b)))
	}
	return b, nil
}
