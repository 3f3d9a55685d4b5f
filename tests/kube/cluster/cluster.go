package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster/build"
	"github.com/ambitmesh/ambit/tests/kube/cluster/machine"
)

// Addresses. Each cluster has network namespaces of its own, so that all may have the same.
const (
	apiAddress = "10.90.0.1"
	server     = "https://" + apiAddress + ":6443"
	podRange   = "10.91.0.0/16"
	services   = "10.92.0.0/16"
	dnsAddress = "10.92.0.10"
)

// Cluster is a cluster that runs.
type Cluster struct {
	Name    string // unique on this host: ambit-kube-<something>
	Dir     string // state and logs; removed by Down
	Cache   build.Cache
	Control *machine.Machine
	Nodes   []*Node
	lock    *os.File
	before  host
	logf    func(string, ...any)
}

// Up builds what is missing and starts a cluster with these nodes, waits until they are ready and the
// cluster's DNS answers. On failure nothing is left.
func Up(ctx context.Context, cache build.Cache, nodes ...string) (c *Cluster, err error) {
	if err := Sweep(); err != nil {
		cache.Log("sweep: %v", err)
	}
	if err := cache.Fill(ctx); err != nil {
		return nil, err
	}
	c = &Cluster{Cache: cache, logf: cache.Log, before: lookAtHost()}
	if err := c.claim(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.tails(), c.Down())
		}
	}()
	begin := time.Now()
	for i, name := range nodes {
		c.Nodes = append(c.Nodes, newNode(c, name, i+1))
	}
	for _, step := range []func(context.Context) error{c.certificates, c.startMachines, c.connect, c.awaitAPI, c.register, c.startNodes, c.dns, c.awaitNodes} {
		if err := step(ctx); err != nil {
			return c, err
		}
	}
	c.logf("cluster %s is up after %.1f s", c.Name, time.Since(begin).Seconds())
	return c, nil
}

// Node returns a node by name.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Down ends all and removes all but the cache. It fails if anything of the cluster is left: processes,
// namespaces, mounts, cgroups, BPF links and programs, files, links.
func (c *Cluster) Down() error {
	traces, err := c.traces()
	for _, n := range c.Nodes {
		if n.Machine != nil {
			err = errors.Join(err, n.Machine.Stop())
		}
	}
	if c.Control != nil {
		err = errors.Join(err, c.Control.Stop())
	}
	err = errors.Join(err, remove(c.Dir), c.lock.Close(), c.nothingLeft(traces))
	c.logf("cluster %s is down; it had %d namespaces, %d BPF links", c.Name, len(traces.namespaces), len(traces.attached.Links))
	return err
}

// tails is the end of every daemon's log, for whoever has to find out why a cluster did not come up.
func (c *Cluster) tails() error {
	var all error
	files, _ := filepath.Glob(filepath.Join(c.Dir, "*/log/*.log"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		all = errors.Join(all, fmt.Errorf("-- %s\n%s", f, b[max(0, len(b)-1500):]))
	}
	return all
}
