package report

import "slices"

// Metrics that are derived from others of the same round.
const (
	AddedP50 = "added p50" // p50 minus that of no mesh
	Against  = "p99 against alone"
)

// Derive adds what follows from samples of the same round.
func Derive(samples []Sample) []Sample {
	t, _ := collect(samples)
	return slices.Concat(samples, added(samples, t), against(samples, t))
}

// added is p50 minus that of no mesh. It is below zero where a proxy that is awake passes a message on sooner
// than a CPU that sleeps takes it.
func added(samples []Sample, t table) []Sample {
	var out []Sample
	for _, s := range samples {
		d, ok := t[key{s.Workload, base(s.Chain), "p50"}][s.Round]
		if s.Metric != "p50" || s.Chain == base(s.Chain) || !ok {
			continue
		}
		s.Metric, s.Value = AddedP50, s.Value-d
		out = append(out, s)
	}
	return out
}

// Names of the workloads whose p99 are compared.
const (
	Alone  = "ping-pong 1024 B, 1 connection"
	Beside = "ping-pong 1024 B beside a pod at full load"
)

// against is how many times the p99 alone a pod's p99 is while another has full load.
func against(samples []Sample, t table) []Sample {
	var out []Sample
	for _, s := range samples {
		alone := t[key{Alone, s.Chain, "p99"}][s.Round]
		if s.Workload != Beside || s.Metric != "p99" || alone == 0 {
			continue
		}
		s.Metric, s.Unit, s.Value = Against, "x", s.Value/alone
		out = append(out, s)
	}
	return out
}
