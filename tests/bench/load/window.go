package load

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CPUVar is the environment variable with the watched cgroups: groups separated by semicolons, of
// directories separated by colons.
const CPUVar = "BENCH_CPU_OF"

// window is a measured span after a warm-up of a fifth of it. It begins when every connection is up, so
// that no chain is charged its handshakes unless they are what is measured.
type window struct {
	start, from, end time.Time
	watched          [][]string // groups of cgroups
	cpu              []float64
	err              error
	counting         bool
}

func newWindow(d time.Duration) *window {
	now := time.Now()
	w := &window{start: now, from: now.Add(d / 5), end: now.Add(d + d/5)}
	if v := os.Getenv(CPUVar); v != "" {
		for group := range strings.SplitSeq(v, ";") {
			w.watched = append(w.watched, strings.FieldsFunc(group, func(r rune) bool { return r == ':' }))
		}
	}
	return w
}

// open says whether the time is not over. The first time that the warm-up is over it notes the CPU time.
func (w *window) open(now time.Time) bool {
	if !w.counting && now.After(w.from) {
		w.counting = true
		w.cpu, w.err = w.read()
	}
	return now.Before(w.end)
}

// read is the CPU time of each group.
func (w *window) read() ([]float64, error) {
	out := make([]float64, len(w.watched))
	for i, g := range w.watched {
		var err error
		if out[i], err = CPU(g); err != nil {
			return out, err
		}
	}
	return out, nil
}

// close is the CPU time of each group since the warm-up.
func (w *window) close() ([]float64, error) {
	after, err := w.read()
	for i := range min(len(after), len(w.cpu)) {
		after[i] -= w.cpu[i]
	}
	return after, errors.Join(w.err, err)
}

func (w *window) seconds() float64 { return w.end.Sub(w.from).Seconds() }

// CPU sums the CPU seconds that cgroups have used.
func CPU(cgroups []string) (float64, error) {
	sum := 0.0
	for _, dir := range cgroups {
		b, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		usec, ok := Field(string(b), "usage_usec")
		if !ok {
			return 0, fmt.Errorf("read CPU time: no usage_usec in %s", dir)
		}
		sum += usec / 1e6
	}
	return sum, nil
}

// Field finds "name value" in lines.
func Field(text, name string) (float64, bool) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			v, err := strconv.ParseFloat(f[1], 64)
			return v, err == nil
		}
	}
	return 0, false
}

func (w *window) latencies(l []time.Duration, failed int) (*Result, error) {
	cpu, err := w.close()
	r := &Result{Count: len(l), Rate: float64(len(l)) / w.seconds(), CPU: cpu, Failed: failed}
	r.percentiles(l)
	return r, err
}

func (w *window) volume(conns int, total int64) (*Result, error) {
	cpu, err := w.close()
	return &Result{Count: conns, Bytes: total, Gbps: float64(total) * 8 / w.seconds() / 1e9, CPU: cpu}, err
}

func (r *Result) percentiles(l []time.Duration) {
	if len(l) == 0 {
		return
	}
	slices.Sort(l)
	at := func(p float64) float64 {
		return float64(l[min(len(l)-1, int(float64(len(l))*p))].Nanoseconds()) / 1000
	}
	r.P50, r.P90, r.P99 = at(.5), at(.9), at(.99)
}
