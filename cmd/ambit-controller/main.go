// Command ambit-controller turns objects into configuration for the proxies and signs their
// certificates.
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
		fmt.Fprintln(os.Stderr, "ambit-controller:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}
