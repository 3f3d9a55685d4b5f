package bpf

import "fmt"

// counterNames are enum counter of maps.h, in its order.
var counterNames = [...]string{
	"outbound_connects", "inbound_captured", "hbone_captured", "outbound_captured", "legs", "probes", "excluded",
	"refused_no_listener", "refused_leg_limit", "legs_untracked", "probes_untracked", "refused_connects",
}

// Counters adds up the counters of all CPUs, by name. They count since the pins were made.
func (m *Mesh) Counters() (map[string]uint64, error) {
	out := make(map[string]uint64, len(counterNames))
	for i, name := range counterNames {
		var cpus []uint64
		if err := m.obj.Counters.Lookup(uint32(i), &cpus); err != nil {
			return nil, fmt.Errorf("read counter %s: %w", name, err)
		}
		for _, n := range cpus {
			out[name] += n
		}
	}
	if err := m.directCounters(out); err != nil {
		return nil, err
	}
	return out, nil
}
