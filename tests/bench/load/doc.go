// Package load is the benchmark's far end and load generator: one thread, an own epoll, no garbage
// collection, so that its own cost is the same for every chain.
package load

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"time"
)

// Result is what one run prints, as one JSON line. Latencies are in microseconds.
type Result struct {
	Count  int     `json:"n"`
	Rate   float64 `json:"rps,omitempty"`
	P50    float64 `json:"p50,omitempty"`
	P90    float64 `json:"p90,omitempty"`
	P99    float64 `json:"p99,omitempty"`
	Bytes  int64   `json:"bytes,omitempty"`
	Gbps   float64 `json:"gbps,omitempty"`
	Failed int     `json:"failed"`
}

// Main runs one verb of the generator and returns the process's exit code.
//
//	server HOST BASE          echo on BASE, request-then-close on BASE+1, source on BASE+2
//	pingpong ADDR CONNS SIZE DURATION
//	connect ADDR CONNS DURATION
//	bulk ADDR CONNS DURATION
//	idle ADDR CONNS           prints READY, holds until standard input ends
func Main(args []string, in io.Reader, out, errw io.Writer) int {
	debug.SetGCPercent(-1)
	res, err := run(args, in, out)
	if err != nil {
		fmt.Fprintln(errw, err)
		return 1
	}
	if res != nil {
		if err := json.NewEncoder(out).Encode(res); err != nil {
			return 1
		}
	}
	return 0
}

func run(args []string, in io.Reader, out io.Writer) (*Result, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("load: want a verb and its arguments, got %q", args)
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", args[0], err)
	}
	switch {
	case args[0] == "server":
		return nil, serve(args[1], n)
	case args[0] == "idle":
		return nil, idle(args[1], n, in, out)
	case len(args) < 4:
		return nil, fmt.Errorf("load %s: too few arguments", args[0])
	}
	d, err := time.ParseDuration(args[len(args)-1])
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", args[0], err)
	}
	switch args[0] {
	case "pingpong":
		size, err := strconv.Atoi(args[3])
		if err != nil {
			return nil, fmt.Errorf("load pingpong: %w", err)
		}
		return pingpong(args[1], n, size, d)
	case "connect":
		return connect(args[1], n, d)
	case "bulk":
		return bulk(args[1], n, d)
	}
	return nil, fmt.Errorf("load: unknown verb %q", args[0])
}
