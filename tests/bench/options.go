package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options of the driver.
type options struct {
	bin, out, page string
	quick          bool
	rounds         int
	each           time.Duration // counted time of one measurement
	idle           []int         // idle connections
	configured     int           // workloads of the configuration whose memory is measured
	workloads      []int         // sizes of snapshots
	policies       []int
	pods           int    // on the crowded node
	only           string // part of workloads' names
	chains         []string
	steps          []string
	nice           int
	pin            bool
}

// steps of a run, in their order.
var allSteps = []string{"speed", "cold", "memory", "snapshot"}

func parse(args []string) (options, error) {
	o := options{idle: []int{1000, 10_000}, configured: 10_000, workloads: []int{1, 1000, 10_000, 100_000}, policies: []int{1, 100, 1000, 5000}, pods: 50}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin", "directory of the mesh's binaries")
	f.StringVar(&o.out, "out", "dist/bench", "directory for results.json and machine.json")
	f.StringVar(&o.page, "page", "", "directory for charts and their page; default docs/performance, with --quick page below --out")
	f.BoolVar(&o.quick, "quick", false, "two short rounds, fewer idle connections and smaller snapshots")
	f.IntVar(&o.rounds, "rounds", 5, "rounds; each measures every chain once")
	f.DurationVar(&o.each, "each", 400*time.Millisecond, "counted time of one measurement")
	f.StringVar(&o.only, "only", "", "only the workloads whose name contains this")
	chains := f.String("chains", "", "only these chains, and those they are compared with; separated by commas")
	workloads := f.String("workloads", "", "sizes of snapshots, separated by commas; default 1 to 100,000 workloads")
	steps := f.String("steps", strings.Join(allSteps, ","), "what to measure, separated by commas")
	f.IntVar(&o.nice, "nice", -10, "priority of all that is measured")
	f.BoolVar(&o.pin, "pin", true, "give each of the two machines one half of the CPUs")
	if err := f.Parse(args); err != nil {
		return o, fmt.Errorf("read flags: %w", err)
	}
	if *chains != "" {
		o.chains = strings.Split(*chains, ",")
	}
	if *workloads != "" {
		o.workloads = nil
		for s := range strings.SplitSeq(*workloads, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				return o, fmt.Errorf("--workloads: %w", err)
			}
			o.workloads = append(o.workloads, n)
		}
	}
	for s := range strings.SplitSeq(*steps, ",") {
		if !slices.Contains(allSteps, s) {
			return o, fmt.Errorf("--steps: want some of %s, got %q", strings.Join(allSteps, ","), s)
		}
		o.steps = append(o.steps, s)
	}
	if o.quick {
		o.configured = 1000
		o.rounds, o.each, o.idle = min(o.rounds, 2), min(o.each, 250*time.Millisecond), []int{1000}
		o.workloads, o.policies = []int{1, 1000}, []int{1, 1000}
	}
	if o.page == "" {
		o.page = "docs/performance"
		if o.quick || o.only != "" || len(o.chains) > 0 || len(o.steps) < len(allSteps) {
			o.page = o.out + "/page" // of a part of the figures nobody makes claims
		}
	}
	return o, nil
}
