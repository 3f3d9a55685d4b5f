// Command ambit is the mesh's command line: it shows what is enrolled and why not, live connections,
// and why a connection would be allowed or refused; and it runs the demo.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ambitmesh/ambit/cmd/ambit/cli"
	"github.com/ambitmesh/ambit/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := cli.Root(version.String()).ExecuteContext(ctx)
	stop()
	if err != nil && !errors.Is(err, cli.ErrRefused) {
		fmt.Fprintln(os.Stderr, "ambit:", err)
	}
	os.Exit(cli.ExitCode(err))
}
