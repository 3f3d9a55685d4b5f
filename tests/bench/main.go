// Command bench measures the mesh against no mesh, against two plain relays and against other proxies,
// interleaved, in a lab of network namespaces on this machine. Only ratios within one run mean anything.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/ambitmesh/ambit/tests/bench/load"
	"github.com/ambitmesh/ambit/tests/bench/relay"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is the driver, or one of the programs that it starts.
func run(args []string) int {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "load":
		return load.Main(args[1:], os.Stdin, os.Stdout, os.Stderr)
	case "relay":
		return exit(relayMain(args[1:]), os.Stderr)
	case "render":
		return exit(renderMain(args[1:]), os.Stderr)
	case driveVerb:
		return driveMain(args[1:])
	}
	return inOwnSession(args)
}

func driveMain(args []string) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return exit(err, os.Stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return exit(drive(ctx, o), os.Stderr)
}

func exit(err error, w io.Writer) int {
	if err != nil {
		fmt.Fprintln(w, "bench:", err)
		return 1
	}
	return 0
}

// relayMain relays between pairs of addresses: LISTEN TARGET [LISTEN TARGET...].
func relayMain(args []string) error {
	if len(args) == 0 || len(args)%2 != 0 {
		return fmt.Errorf("relay: want pairs of addresses, got %q", args)
	}
	var listen, target []netip.AddrPort
	for i, a := range args {
		p, err := netip.ParseAddrPort(a)
		if err != nil {
			return fmt.Errorf("relay: %w", err)
		}
		if i%2 == 0 {
			listen = append(listen, p)
		} else {
			target = append(target, p)
		}
	}
	return relay.Run(listen, target)
}
