package agent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ambitmesh/ambit/bpf"
)

// Cleanup removes everything of an instance from the node: links, maps, and rules, routes and sysctls
// inside pods. It refuses while an agent runs with that instance.
func Cleanup(bpffs, cgroupRoot, instance string) error {
	if is, err := isBPFFS(bpffs); err != nil || !is {
		return err // no pins without a bpffs
	}
	cg, err := findCgroups(cgroupRoot)
	if err != nil {
		return err
	}
	names, err := bpf.Instances(bpffs)
	if err != nil {
		return err
	}
	if !slices.Contains(names, instance) {
		return nil
	}
	return cleanup(bpf.Options{BPFFS: bpffs, Instance: instance, Cgroup: cg.root})
}

func cleanup(o bpf.Options) error {
	if err := openSysctls(); err != nil {
		return err
	}
	m, err := bpf.Load(o)
	if errors.Is(err, bpf.ErrIncompatible) {
		// The pods cannot be read: without links nothing is captured, what stays in pods is inert.
		return errors.Join(fmt.Errorf("instance %s: rules stay in its pods: %w", o.Instance, err), bpf.Discard(o.BPFFS, o.Instance))
	}
	if err != nil {
		return fmt.Errorf("instance %s: %w", o.Instance, err)
	}
	err = removePods(m, func(uint64) bool { return true })
	return errors.Join(err, m.Remove(), m.Close())
}

// CleanupAll removes every instance below a bpffs.
func CleanupAll(bpffs, cgroupRoot string) error {
	if is, err := isBPFFS(bpffs); err != nil || !is {
		return err
	}
	names, err := bpf.Instances(bpffs)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		errs = append(errs, Cleanup(bpffs, cgroupRoot, n))
	}
	return errors.Join(errs...)
}
