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
	Count  int       `json:"n"`
	Rate   float64   `json:"rps,omitempty"`
	P50    float64   `json:"p50,omitempty"`
	P90    float64   `json:"p90,omitempty"`
	P99    float64   `json:"p99,omitempty"`
	Bytes  int64     `json:"bytes,omitempty"`
	Gbps   float64   `json:"gbps,omitempty"`
	CPU    []float64 `json:"cpu,omitempty"` // seconds that each group of cgroups used while it counted
	Failed int       `json:"failed"`
}

// Main runs one verb of the generator and returns the process's exit code.
//
//	server HOST ROLE:PORT...       far ends: echo, once (answers, then closes), source, sink
//	pingpong ADDR CONNS SIZE TIME  a message of SIZE bytes goes round on each connection
//	connect ADDR CONNS SIZE TIME   connect, request, answer, close
//	bulk ADDR CONNS TIME           reads from sources
//	upload ADDR CONNS TIME         writes to sinks
//	send ADDR SIZE TIME            writes messages to a sink, one after another, and waits for no answer
//	visit SIZE ADDR...             one request to each address in turn, each on a connection of its own
//	idle ADDR CONNS                prints READY, holds until standard input ends
//
// CPUVar names an environment variable with the cgroups whose CPU time is read at the start and at the end
// of the counted time.
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
	switch args[0] {
	case "server":
		return nil, serve(args[1], args[2:])
	case "visit":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return nil, fmt.Errorf("load visit: %w", err)
		}
		return visit(n, args[2:])
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", args[0], err)
	}
	if args[0] == "idle" {
		return nil, idle(args[1], n, in, out)
	}
	return timed(args, n)
}

// timed runs a verb that ends with a time.
func timed(args []string, n int) (*Result, error) {
	d, err := time.ParseDuration(args[len(args)-1])
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", args[0], err)
	}
	switch args[0] {
	case "bulk":
		return bulk(args[1], n, d)
	case "upload":
		return upload(args[1], n, d)
	case "send":
		return send(args[1], n, d)
	}
	size, err := strconv.Atoi(args[3])
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", args[0], err)
	}
	switch args[0] {
	case "pingpong":
		return pingpong(args[1], n, size, d)
	case "connect":
		return connect(args[1], n, size, d)
	}
	return nil, fmt.Errorf("load: unknown verb %q", args[0])
}
