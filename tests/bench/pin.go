package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// places are the CPUs of the two machines that the lab stands for. With them apart, a message to the other
// machine wakes another CPU, as it does in reality; else the scheduler may put both ends on one CPU, and
// the figures say more about that choice than about proxies.
type places struct {
	all, a, b []int
}

func newPlaces(pin bool) (places, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return places{}, fmt.Errorf("list CPUs: %w", err)
	}
	var p places
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			p.all = append(p.all, i)
		}
	}
	p.a, p.b = p.all, p.all
	if half := len(p.all) / 2; pin && half > 0 {
		p.a, p.b = p.all[:half], p.all[half:]
	}
	return p, nil
}

// of is a node's CPUs. Nodes whose name ends in -b are on the far machine.
func (p places) of(node string) []int {
	if strings.HasSuffix(node, "-b") {
		return p.b
	}
	return p.a
}

// on starts something on CPUs: what f starts inherits them.
func (p places) on(cpus []int, f func() error) error {
	if err := setCPUs(cpus); err != nil {
		return err
	}
	err := f()
	if back := setCPUs(p.all); err == nil {
		err = back
	}
	return err
}

func setCPUs(cpus []int) error {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	err := eachThread(func(tid int) error { return unix.SchedSetaffinity(tid, &set) })
	if err != nil {
		return fmt.Errorf("choose CPUs: %w", err)
	}
	return nil
}
