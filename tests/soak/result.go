package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab/app"
	"github.com/ambitmesh/ambit/tests/bench/report"
)

// Result is what a run found.
type Result struct {
	Machine  report.Machine `json:"machine"`
	Engine   string         `json:"engine"`
	Duration string         `json:"duration"`
	OK       bool           `json:"ok"`
	Grown    bool           `json:"growth_judged"` // the run was long enough
	Verdicts []Verdict      `json:"verdicts"`
	Failures []string       `json:"failures"`
	Traffic  []*Traffic     `json:"traffic"`
	Events   map[string]int `json:"events"`
	Refused  int            `json:"refused"` // by a policy that was to refuse, and did
	Bytes    int64          `json:"bytes"`   // of transfers, each of them checked
	Logged   int            `json:"logged"`  // lines of access log
	Settled  float64        `json:"settled_s"`
	Before   Sample         `json:"before"` // quiet, before the churn
	After    Sample         `json:"after"`  // quiet, after it
	Samples  []Sample       `json:"samples"`

	begin time.Time
}

// Traffic counts the calls of a stream.
type Traffic struct {
	Name   string         `json:"name"`
	OK     int            `json:"ok"`
	Failed int            `json:"failed"`
	Errors map[string]int `json:"errors"`
	P50    float64        `json:"p50_ms"`
	P99    float64        `json:"p99_ms"`
	Max    float64        `json:"max_ms"`

	okBefore, failedBefore int
	errorsBefore           map[string]int
}

func newResult(ctx context.Context, o options) *Result {
	r := &Result{Machine: report.ThisMachine(), Engine: o.engine, Duration: o.duration.String(), Events: map[string]int{}}
	if b, err := exec.CommandContext(ctx, filepath.Join(o.bin, "ambit-ztunnel"), "--version").Output(); err == nil {
		r.Machine.Ambit, _, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
	}
	return r
}

// traffic finds a stream's counts, or begins them.
func (r *Result) traffic(name string) *Traffic {
	for _, t := range r.Traffic {
		if t.Name == name {
			return t
		}
	}
	t := &Traffic{Name: name}
	r.Traffic = append(r.Traffic, t)
	return t
}

// last takes over what a running stream has counted.
func (t *Traffic) last(r app.Report) {
	t.OK, t.Failed = t.okBefore+r.OK, t.failedBefore+r.Failed
	t.Errors = maps.Clone(t.errorsBefore)
	for text, n := range r.Errors {
		if t.Errors == nil {
			t.Errors = map[string]int{}
		}
		t.Errors[text] += n
	}
	t.P50, t.P99, t.Max = millis(r.P50), millis(r.P99), millis(r.Max)
}

// settle is for the end of a stream: the next one counts from zero.
func (t *Traffic) settle() { t.okBefore, t.failedBefore, t.errorsBefore = t.OK, t.Failed, t.Errors }

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

const resultsFile = "results.json"

// save writes the results and the page that shows them.
func (r *Result) save(o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make directory for results: %w", err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	err = os.WriteFile(filepath.Join(o.out, resultsFile), append(b, '\n'), 0o644)
	return errors.Join(err, r.render(o.page))
}
