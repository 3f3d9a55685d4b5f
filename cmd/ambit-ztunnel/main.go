// Command ambit-ztunnel is the node's layer 4 proxy: it carries the traffic of the node's enrolled pods
// over mutual TLS and judges it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

var errSecond = errors.New("stopped by a second signal, connections were cut")

func main() {
	ctx, cut := context.WithCancelCause(context.Background())
	terminate := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM)
	go func() { // the first asks to drain, the second to stop at once
		<-signals
		close(terminate)
		<-signals
		cut(errSecond)
	}()
	if err := rootCmd(terminate).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ambit-ztunnel:", err)
		os.Exit(1)
	}
}
