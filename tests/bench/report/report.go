// Package report turns the rounds of an interleaved benchmark into medians and same-round ratios.
// Machines are noisy: only ratios between chains of one round are compared.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
)

// Sample is one figure of one chain in one round.
type Sample struct {
	Round    int
	Workload string
	Chain    string
	Metric   string
	Unit     string
	Value    float64
}

// Row is what results.json holds for each workload, chain and metric. The ratios are medians over the
// rounds of this chain's value divided by the other chain's in the same round; nil when there is none.
type Row struct {
	Workload string   `json:"workload"`
	Chain    string   `json:"chain"`
	Metric   string   `json:"metric"`
	Unit     string   `json:"unit"`
	Median   float64  `json:"median"`
	Min      float64  `json:"min"`
	Max      float64  `json:"max"`
	VsDirect *float64 `json:"vs_direct"`
	VsFloor  *float64 `json:"vs_floor"`
	Rounds   int      `json:"rounds"`
}

// Names of the chains that others are divided by.
const (
	Direct = "direct"
	Floor  = "relays"
)

type key struct{ workload, chain, metric string }

// Rows groups samples: workloads in the order of their first appearance, then as they came.
func Rows(samples []Sample) []Row {
	values := map[key]map[int]float64{}
	var rows []Row
	for _, s := range samples {
		k := key{s.Workload, s.Chain, s.Metric}
		if values[k] == nil {
			values[k] = map[int]float64{}
			rows = append(rows, Row{Workload: s.Workload, Chain: s.Chain, Metric: s.Metric, Unit: s.Unit})
		}
		values[k][s.Round] = s.Value
	}
	for i := range rows {
		r := &rows[i]
		own := values[key{r.Workload, r.Chain, r.Metric}]
		v := sorted(own)
		r.Rounds, r.Median, r.Min, r.Max = len(v), median(v), v[0], v[len(v)-1]
		r.VsDirect = ratio(own, values[key{r.Workload, Direct, r.Metric}])
		r.VsFloor = ratio(own, values[key{r.Workload, Floor, r.Metric}])
	}
	return byWorkload(rows)
}

func byWorkload(rows []Row) []Row {
	first := map[string]int{}
	for i, r := range rows {
		if _, ok := first[r.Workload]; !ok {
			first[r.Workload] = i
		}
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return first[a.Workload] - first[b.Workload] })
	return rows
}

// Added returns samples of metric minus the direct chain's value in the same round, as "added_"+metric.
// A round in which the difference is not above zero is left out: noise was larger than the effect.
func Added(samples []Sample, metric string) []Sample {
	direct := map[key]map[int]float64{}
	for _, s := range samples {
		if s.Chain == Direct && s.Metric == metric {
			k := key{workload: s.Workload}
			if direct[k] == nil {
				direct[k] = map[int]float64{}
			}
			direct[k][s.Round] = s.Value
		}
	}
	var out []Sample
	for _, s := range samples {
		d, ok := direct[key{workload: s.Workload}][s.Round]
		if s.Metric != metric || s.Chain == Direct || !ok || s.Value <= d {
			continue
		}
		s.Metric, s.Value = "added_"+metric, s.Value-d
		out = append(out, s)
	}
	return out
}

func sorted(m map[int]float64) []float64 {
	v := make([]float64, 0, len(m))
	for _, x := range m {
		v = append(v, x)
	}
	slices.Sort(v)
	return v
}

// median of a sorted, non-empty slice.
func median(v []float64) float64 {
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func ratio(own, base map[int]float64) *float64 {
	r := map[int]float64{}
	for round, x := range own {
		if b := base[round]; b != 0 {
			r[round] = x / b
		}
	}
	if len(r) == 0 {
		return nil
	}
	m := math.Round(median(sorted(r))*1000) / 1000
	return &m
}

// WriteJSON writes rows as results.json.
func WriteJSON(w io.Writer, rows []Row) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(rows); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// WriteTable writes rows for a person, one workload after another.
func WriteTable(w io.Writer, rows []Row) {
	last := ""
	for _, r := range rows {
		if r.Workload != last {
			fmt.Fprintf(w, "\n%s\n  %-14s %-12s %12s %12s %12s %10s %10s\n", r.Workload, "chain", "metric", "median", "min", "max", "vs direct", "vs relays")
			last = r.Workload
		}
		fmt.Fprintf(w, "  %-14s %-12s %12.2f %12.2f %12.2f %10s %10s  %s\n", r.Chain, r.Metric, r.Median, r.Min, r.Max, times(r.VsDirect), times(r.VsFloor), r.Unit)
	}
}

func times(r *float64) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%.2fx", *r)
}
