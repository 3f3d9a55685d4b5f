// Command ambit is the mesh's command line: it shows what is enrolled and why not, live connections,
// and why a connection would be allowed or refused; and it runs the demo.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2" //nolint:depguard // only to redirect what client-go logs

	"github.com/ambitmesh/ambit/cmd/ambit/cli"
	"github.com/ambitmesh/ambit/internal/version"
)

func main() {
	// What client-go says besides its errors would stand amid the answers.
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := cli.Root(version.String()).ExecuteContext(ctx)
	stop()
	if err != nil && !errors.Is(err, cli.ErrRefused) {
		fmt.Fprintln(os.Stderr, "ambit:", err)
	}
	os.Exit(cli.ExitCode(err))
}
