// Command ambit is the mesh's command line: it shows what is enrolled and why not, live connections,
// and why a connection would be allowed or refused; and it runs the demo.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ambitmesh/ambit/cmd/ambit/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := cli.Root(version).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ambit:", err)
		os.Exit(1)
	}
}

// version is set by the linker.
var version = "dev"
