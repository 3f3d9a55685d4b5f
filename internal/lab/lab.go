package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Lab is a running cluster.
type Lab struct {
	opts   Options
	owner  *os.File // held locked while this process owns the lab
	cgroup string

	fabric     *Host
	controller *Host
	nodes      map[string]*Node
	control    process // the controller

	mu       sync.Mutex
	pods     map[string]*Pod // by namespace/name
	objects  map[string]object
	services int // addresses given
	probe    int // ports and other numbers given
}

// New builds a lab, starts its components unless opts.Manual, and waits until they are ready. On an
// error nothing is left.
func New(ctx context.Context, opts Options) (*Lab, error) {
	if err := errors.Join(opts.fill(), Unusable()); err != nil {
		return nil, err
	}
	mount, err := cgroupMount()
	if err != nil {
		return nil, err
	}
	l := &Lab{opts: opts, cgroup: filepath.Join(mount, cgroupPrefix+opts.Name),
		nodes: map[string]*Node{}, pods: map[string]*Pod{}, objects: map[string]object{}}
	if err := l.claim(); err != nil {
		return nil, errors.Join(err, l.abandon())
	}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("build lab %s: %w", opts.Name, err), l.Close())
	}
	return l, nil
}

// abandon undoes a claim that did not get through; another owner's lab of this name stays.
func (l *Lab) abandon() error {
	if l.owner == nil {
		return nil
	}
	return l.Close()
}

func (l *Lab) build(ctx context.Context) error {
	l.opts.Progress("building the fabric and nodes")
	if err := l.buildFabric(); err != nil {
		return err
	}
	for i, name := range l.opts.Nodes {
		if err := l.buildNode(name, i+1); err != nil {
			return err
		}
	}
	if err := l.routeNodes(); err != nil {
		return err
	}
	if err := l.describeNodes(); err != nil {
		return err
	}
	if l.opts.Manual {
		return nil
	}
	return l.start(ctx)
}

// Name is the lab's name.
func (l *Lab) Name() string { return l.opts.Name }

// Close ends every process and removes everything. It may be called again.
func (l *Lab) Close() error {
	if l.owner == nil {
		return nil
	}
	var errs []error
	l.closeApps()
	if err := killCgroup(l.cgroup); err != nil {
		errs = append(errs, err)
	}
	for _, h := range l.hosts() {
		errs = append(errs, h.ns.close())
	}
	errs = append(errs, l.vanish(), l.owner.Close())
	l.owner = nil
	return errors.Join(errs...)
}

// vanish removes what is on disk while nobody sweeps: to try a lab's lock makes the file anew.
func (l *Lab) vanish() error {
	root, err := lockRoot()
	if err != nil {
		return err
	}
	defer root.Close() // nothing was written
	return remove(l.opts.Name)
}

func (l *Lab) hosts() []*Host {
	var out []*Host
	for _, h := range []*Host{l.fabric, l.controller} {
		if h != nil {
			out = append(out, h)
		}
	}
	for _, n := range l.nodes {
		out = append(out, n.Host)
		for _, z := range n.Ztunnels() {
			out = append(out, z.Host)
		}
	}
	for _, p := range l.Pods() {
		out = append(out, p.Host)
	}
	return out
}
