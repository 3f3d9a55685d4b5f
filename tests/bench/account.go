package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ambitmesh/ambit/internal/lab"
)

// account is CPU time of cgroups, as the kernel counts it, and the metric that it is given as.
type account struct {
	metric  string
	cgroups []string
	less    []string // cgroups within those that have accounts of their own
}

// between are the accounts of all proxies and agents, and of each alone.
func (c chain) between() []account {
	return slices.Concat([]account{{metric: "cpu", cgroups: slices.Concat(c.proxies, c.agents)}}, sides("proxy", c.proxies), sides("agent", c.agents))
}

// accounts are also those of everything, and of both ends alone.
func (c chain) accounts() []account {
	client, server := account{metric: "cpu of client", cgroups: cgroupsOf(c.clients())}, account{metric: "cpu of server", cgroups: []string{c.server.Cgroup()}}
	if c.pair {
		client.less, server.less = c.proxies[:1], c.proxies[1:]
	}
	return append(c.between(), account{metric: "cpu of all", cgroups: c.everything()}, client, server)
}

// sides are accounts of what stands on both sides, the client's first, or on one alone.
func sides(what string, cgroups []string) []account {
	if len(cgroups) == 1 {
		return []account{{metric: "cpu of " + what, cgroups: cgroups}}
	}
	var out []account
	for i, dir := range cgroups {
		out = append(out, account{metric: fmt.Sprintf("cpu of %s %s", []string{"client", "server"}[i], what), cgroups: []string{dir}})
	}
	return out
}

func cgroupsOf(pods []*lab.Pod) []string {
	var out []string
	for _, p := range pods {
		out = append(out, p.Cgroup())
	}
	return out
}

// watched are the cgroups of accounts, each once.
func watched(all []account) []string {
	var out []string
	for _, a := range all {
		for _, dir := range slices.Concat(a.cgroups, a.less) {
			if !slices.Contains(out, dir) {
				out = append(out, dir)
			}
		}
	}
	return out
}

// charge gives each account its seconds, by metric. seconds are those of the cgroups that watched gives. What
// has no cgroup has no figure.
func charge(all []account, seconds []float64) (map[string]float64, error) {
	dirs, out := watched(all), map[string]float64{}
	if len(seconds) != len(dirs) {
		return nil, fmt.Errorf("%d figures of CPU time, want %d", len(seconds), len(dirs))
	}
	for _, a := range all {
		if len(a.cgroups) == 0 {
			continue
		}
		for i, dir := range dirs {
			if slices.Contains(a.cgroups, dir) {
				out[a.metric] += seconds[i]
			}
			if slices.Contains(a.less, dir) {
				out[a.metric] -= seconds[i]
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no CPU time is counted")
	}
	return out, nil
}
