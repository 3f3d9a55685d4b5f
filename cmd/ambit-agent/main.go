// Command ambit-agent decides who on this node is in the mesh and redirects their traffic to the
// node's proxy.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := rootCmd().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ambit-agent:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}
