// Command soak runs a mesh of two nodes in a lab for long, with steady traffic and constant change, and
// judges whether anything grew: memory, descriptors, goroutines, series of metrics, entries of kernel maps.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

type options struct {
	duration, every   time.Duration
	engine            string
	bin, out, page    string
	workers, interval int // of each stream of calls; milliseconds
}

func main() {
	o := options{}
	flag.DurationVar(&o.duration, "duration", time.Hour, "how long to churn")
	flag.DurationVar(&o.every, "every", 15*time.Second, "time between samples")
	flag.StringVar(&o.engine, "engine", "loop", "the proxies' engine: std or loop")
	flag.StringVar(&o.bin, "bin", "bin", "directory of the programs under test")
	flag.StringVar(&o.out, "out", "dist/soak", "directory for the results")
	flag.StringVar(&o.page, "page", "", "directory for the page and its chart (default: docs/performance after an hour or more, else that of the results)")
	flag.IntVar(&o.workers, "workers", 2, "callers in each of the streams of calls")
	flag.IntVar(&o.interval, "interval", 100, "milliseconds between two calls of a caller")
	flag.Parse()
	if o.page == "" {
		o.page = o.out
		if o.duration >= time.Hour {
			o.page = filepath.Join("docs", "performance")
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

var errGrew = errors.New("the mesh did not stay as it was")

// run soaks, and writes what was measured also if it ends early.
func run(ctx context.Context, o options) (err error) {
	if err := lab.Unusable(); err != nil {
		return err
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return fmt.Errorf("find programs: %w", err)
	}
	o.bin = bin
	s, err := build(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	soakErr := s.soak(ctx)
	s.result.judge(o)
	err = errors.Join(soakErr, s.result.save(o))
	for _, v := range s.result.Verdicts {
		say("%s", v)
	}
	if !s.result.OK {
		err = errors.Join(err, errGrew)
	}
	return err
}

func say(format string, a ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, a...))
}
