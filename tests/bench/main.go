// Command bench measures the mesh against no mesh and against two plain relays, interleaved, in a lab of
// network namespaces on this machine. Only ratios within one run mean anything.
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
	"time"

	"github.com/ambitmesh/ambit/tests/bench/load"
	"github.com/ambitmesh/ambit/tests/bench/relay"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the driver, or with "load" and "relay" the programs that it starts in pods.
func run(ctx context.Context, args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "load":
			return load.Main(args[1:], os.Stdin, os.Stdout, os.Stderr)
		case "relay":
			return exit(relayMain(args[1:]), os.Stderr)
		}
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return exit(err, os.Stderr)
	}
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

// options of the driver.
type options struct {
	bin, out  string
	quick     bool
	rounds    int
	each      time.Duration // of one measurement
	idle      []int         // connections across nodes
	idleOne   int           // connections on one node
	only      string        // part of workloads' names
	skipSpeed bool
	skipIdle  bool
}

func parse(args []string) (options, error) {
	o := options{idle: []int{1000, 10000}, idleOne: 9000}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin", "directory of the mesh's binaries")
	f.StringVar(&o.out, "out", "dist/bench/results.json", "file for the results")
	f.BoolVar(&o.quick, "quick", false, "two short rounds and fewer idle connections")
	f.IntVar(&o.rounds, "rounds", 5, "rounds; each measures every chain once")
	f.DurationVar(&o.each, "each", 800*time.Millisecond, "length of one measurement")
	f.StringVar(&o.only, "only", "", "only the workloads whose name contains this")
	f.BoolVar(&o.skipSpeed, "skip-speed", false, "measure memory only")
	f.BoolVar(&o.skipIdle, "skip-memory", false, "measure speed only")
	if err := f.Parse(args); err != nil {
		return o, fmt.Errorf("read flags: %w", err)
	}
	if o.quick {
		o.rounds, o.each, o.idle, o.idleOne = 2, 300*time.Millisecond, []int{1000}, 1000
	}
	return o, nil
}
