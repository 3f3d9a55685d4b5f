// Package report turns the rounds of an interleaved benchmark into medians and same-round ratios.
// Machines are noisy: only ratios between chains of one round are compared.
package report

import (
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

	Connections int // see Row
}

// Row is what results.json holds for each workload, chain and metric. Min and Max are of the values. The
// ratios are medians over the rounds of this chain's value divided by the other chain's in the same
// round; nil when there is none. The ranges are the least and the greatest of those ratios.
type Row struct {
	Workload      string      `json:"workload"`
	Chain         string      `json:"chain"`
	Metric        string      `json:"metric"`
	Unit          string      `json:"unit"`
	Median        float64     `json:"median"`
	Min           float64     `json:"min"`
	Max           float64     `json:"max"`
	VsDirect      *float64    `json:"vs_direct"` // no mesh; for pods of one node, no mesh on one node
	VsFloor       *float64    `json:"vs_floor"`  // two plain relays
	VsPeers       *float64    `json:"vs_peers"`  // the better of nginx and haproxy in that round
	VsDirectRange *[2]float64 `json:"vs_direct_range,omitempty"`
	VsFloorRange  *[2]float64 `json:"vs_floor_range,omitempty"`
	VsPeersRange  *[2]float64 `json:"vs_peers_range,omitempty"`
	Rounds        int         `json:"rounds"`

	VsRivals map[string]Ratio `json:"vs_rivals,omitempty"` // of ours: each of those that were there

	// Connections are those that were really held, of as many as the workload's name says. Others hold fewer where
	// the limit of open files is too low and cannot be raised.
	Connections int `json:"connections,omitempty"`
}

// Ratio is the median of same-round ratios, the least and the greatest.
type Ratio struct {
	Median float64    `json:"median"`
	Range  [2]float64 `json:"range"`
}

type key struct{ workload, chain, metric string }

// values are figures by round.
type values map[int]float64

// Rows groups samples: workloads in the order of their first appearance, then as they came.
func Rows(samples []Sample) []Row {
	all, order := collect(samples)
	rows := make([]Row, 0, len(order))
	for _, s := range order {
		k := key{s.Workload, s.Chain, s.Metric}
		v := all[k].sorted()
		r := Row{Workload: s.Workload, Chain: s.Chain, Metric: s.Metric, Unit: s.Unit, Rounds: len(v), Median: median(v), Min: v[0], Max: v[len(v)-1], Connections: s.Connections}
		r.VsDirect, r.VsDirectRange = ratio(all[k], all[key{s.Workload, base(s.Chain), s.Metric}])
		if base(s.Chain) == Direct { // to compare one node with two says nothing
			r.VsFloor, r.VsFloorRange = ratio(all[k], all[key{s.Workload, Floor, s.Metric}])
			r.VsPeers, r.VsPeersRange = ratio(all[k], all.better(s.Workload, s.Metric))
		}
		if slices.Contains(ours, s.Chain) {
			r.VsRivals = all.rivals(k)
		}
		rows = append(rows, r)
	}
	return byWorkload(rows)
}

var ours = []string{Mesh("std"), Mesh("loop")}

// rivals are the ratios to those that have the same figure.
func (t table) rivals(k key) map[string]Ratio {
	var out map[string]Ratio
	for _, name := range Rivals {
		m, span := ratio(t[k], t[key{k.workload, name, k.metric}])
		if m == nil {
			continue
		}
		if out == nil {
			out = map[string]Ratio{}
		}
		out[name] = Ratio{*m, *span}
	}
	return out
}

type table map[key]values

// collect sorts samples by key, and gives the first of each.
func collect(samples []Sample) (t table, order []Sample) {
	t = table{}
	for _, s := range samples {
		k := key{s.Workload, s.Chain, s.Metric}
		if t[k] == nil {
			t[k] = values{}
			order = append(order, s)
		}
		t[k][s.Round] = s.Value
	}
	return t, order
}

// better is, for each round, the better value of the peers.
func (t table) better(workload, metric string) values {
	out := values{}
	for _, p := range Peers {
		for round, v := range t[key{workload, p, metric}] {
			if old, ok := out[round]; !ok || (v > old) == More(metric) {
				out[round] = v
			}
		}
	}
	return out
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

func (m values) sorted() []float64 {
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

// ratio leaves out rounds in which the base is not above zero: nothing is a part of that.
func ratio(own, base values) (*float64, *[2]float64) {
	r := values{}
	for round, x := range own {
		if b := base[round]; b > 0 {
			r[round] = x / b
		}
	}
	if len(r) == 0 {
		return nil, nil
	}
	v := r.sorted()
	m := round3(median(v))
	return &m, &[2]float64{round3(v[0]), round3(v[len(v)-1])}
}

func round3(x float64) float64 { return math.Round(x*1000) / 1000 }
