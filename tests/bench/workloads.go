package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/ambitmesh/ambit/tests/bench/report"
)

// job is one run of the load generator from a pod.
type job struct {
	role int
	args func(addr string, d time.Duration) []string
}

// workload is one thing that clients do.
type workload struct {
	name   string
	job    job
	per    float64 // operations, or bytes, that CPU time is given for
	unit   string
	beside *beside // what else goes on meanwhile
	layout bool    // of Istio's ztunnel's own benchmarks
	pods   int     // clients that do the job at once; 0: one
}

// beside is load in the background. Its CPU time cannot be told from the workload's.
type beside struct {
	job
	other bool // from another pod
}

func pingpong(conns, size int) job {
	return job{roleEcho, func(addr string, d time.Duration) []string {
		return []string{"pingpong", addr, strconv.Itoa(conns), strconv.Itoa(size), d.String()}
	}}
}

func connect(conns, size int) job {
	return job{roleOnce, func(addr string, d time.Duration) []string {
		return []string{"connect", addr, strconv.Itoa(conns), strconv.Itoa(size), d.String()}
	}}
}

func stream(verb string, role, conns int) job {
	return job{role, func(addr string, d time.Duration) []string {
		return []string{verb, addr, strconv.Itoa(conns), d.String()}
	}}
}

func send(size int) job {
	return job{roleSink, func(addr string, d time.Duration) []string {
		return []string{"send", addr, strconv.Itoa(size), d.String()}
	}}
}

const (
	cpuPer100k = "CPU s/100k"
	cpuPer1k   = "CPU s/1k"
	cpuPerGB   = "CPU s/GB"
)

// Names that targets refer to.
const (
	pingBulk   = "ping-pong 1024 B during bulk"
	pingBeside = report.Beside
)

func workloads() []workload {
	var out []workload
	for _, size := range []int{1, 1024} {
		for _, conns := range []int{1, 16, 128} {
			out = append(out, workload{name: fmt.Sprintf("ping-pong %d B, %s", size, plural(conns, "connection")),
				job: pingpong(conns, size), per: 1e5, unit: cpuPer100k})
		}
	}
	for _, conns := range []int{1, 16} {
		out = append(out, workload{name: fmt.Sprintf("connect, request, close, %d at once", conns), job: connect(conns, 64), per: 1e3, unit: cpuPer1k})
	}
	for _, conns := range []int{1, 8} {
		out = append(out,
			workload{name: "download, " + plural(conns, "stream"), job: stream("bulk", roleSource, conns), per: 1e9, unit: cpuPerGB},
			workload{name: "upload, " + plural(conns, "stream"), job: stream("upload", roleSink, conns), per: 1e9, unit: cpuPerGB})
	}
	out = append(out,
		workload{name: pingBulk, job: pingpong(1, 1024), beside: &beside{job: stream("bulk", roleSource, 1)}},
		workload{name: pingBeside, job: pingpong(1, 1024), beside: &beside{job: stream("bulk", roleNoise, 8), other: true}})
	return append(out, layout()...)
}

const mostClients = 8

// layout is that of the benchmarks of Istio's ztunnel (its benches/throughput.rs), line by line. Its
// "direct" is our direct, its "tcp" one ztunnel towards a pod without, its "hbone" two ztunnels. Its
// latency is that of a write, for which no answer is awaited.
func layout() []workload {
	var out []workload
	for _, pods := range []int{1, 2, mostClients} {
		out = append(out, workload{name: fmt.Sprintf("ztunnel layout: throughput%d", pods), job: stream("upload", roleSink, 1), per: 1e9, unit: cpuPerGB, layout: true, pods: pods})
	}
	return append(out,
		workload{name: "ztunnel layout: latency", job: send(1024), per: 1e5, unit: cpuPer100k, layout: true},
		workload{name: "ztunnel layout: connections", job: connect(1, 1), per: 1e3, unit: cpuPer1k, layout: true})
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// runs says whether a workload is measured over a chain.
func (l workload) runs(c chain) bool {
	if l.layout {
		return c.layout || c.path == "tunnel" && c.client.Node.Name != "mtls" || c.name == "direct"
	}
	return !c.layout
}
