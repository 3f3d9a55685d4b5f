package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/tests/bench/load"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// workload is one thing that clients do.
type workload struct {
	name string
	role int
	args func(addr string, d time.Duration) []string
	per  float64 // operations, or bytes, that CPU time is given for
	unit string
}

func workloads() []workload {
	var out []workload
	for _, size := range []int{1, 1024} {
		for _, conns := range []int{1, 16, 128} {
			out = append(out, workload{
				name: fmt.Sprintf("ping-pong %d B, %d connections", size, conns), per: 100_000, unit: "CPU s/100k",
				args: func(addr string, d time.Duration) []string {
					return []string{"pingpong", addr, strconv.Itoa(conns), strconv.Itoa(size), d.String()}
				},
			})
		}
	}
	for _, conns := range []int{1, 16} {
		out = append(out, workload{
			name: fmt.Sprintf("connect, request, close, %d at once", conns), role: 1, per: 1000, unit: "CPU s/1k",
			args: func(addr string, d time.Duration) []string {
				return []string{"connect", addr, strconv.Itoa(conns), d.String()}
			},
		})
	}
	for _, conns := range []int{1, 8} {
		out = append(out, workload{
			name: fmt.Sprintf("bulk, %d streams", conns), role: 2, per: 1e9, unit: "CPU s/GB",
			args: func(addr string, d time.Duration) []string {
				return []string{"bulk", addr, strconv.Itoa(conns), d.String()}
			},
		})
	}
	return out
}

// measure runs one workload once over one chain.
func (w *world) measure(ctx context.Context, c chain, l workload, each time.Duration) ([]report.Sample, error) {
	before, err := cpuOf(c.proxies)
	if err != nil {
		return nil, err
	}
	out, err := c.client.Run(ctx, append([]string{w.exe, "load"}, l.args(c.at(l.role), each)...)...)
	if err != nil {
		return nil, err
	}
	after, err := cpuOf(c.proxies)
	if err != nil {
		return nil, err
	}
	var r load.Result
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("decode %q: %w", out, err)
	}
	if r.Failed > 0 {
		return nil, fmt.Errorf("%d operations failed", r.Failed)
	}
	return l.samples(c, &r, after-before)
}

// samples are the figures of one run. The generator counts after a warm-up of a sixth of the time, in
// which the proxies work too.
func (l workload) samples(c chain, r *load.Result, cpu float64) ([]report.Sample, error) {
	const counted = 5.0 / 6
	add := func(out []report.Sample, metric, unit string, v float64) []report.Sample {
		return append(out, report.Sample{Workload: l.name, Chain: c.name, Metric: metric, Unit: unit, Value: v})
	}
	var out []report.Sample
	done := float64(r.Count)
	if l.role == 2 {
		done = float64(r.Bytes)
		out = add(out, "throughput", "Gb/s", r.Gbps)
	} else {
		out = add(add(add(out, "p50", "us", r.P50), "p99", "us", r.P99), "rate", "1/s", r.Rate)
	}
	if done == 0 {
		return nil, errors.New("nothing was done")
	}
	if len(c.proxies) > 0 {
		out = add(out, "cpu", l.unit, cpu*counted/done*l.per)
	}
	return out, nil
}

// cpuOf sums the CPU seconds of cgroups.
func cpuOf(cgroups []string) (float64, error) {
	sum := 0.0
	for _, dir := range cgroups {
		b, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		usec, ok := field(string(b), "usage_usec")
		if !ok {
			return 0, fmt.Errorf("read CPU time: no usage_usec in %s", dir)
		}
		sum += usec / 1e6
	}
	return sum, nil
}

// field finds "name value" in lines.
func field(text, name string) (float64, bool) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			v, err := strconv.ParseFloat(f[1], 64)
			return v, err == nil
		}
	}
	return 0, false
}
