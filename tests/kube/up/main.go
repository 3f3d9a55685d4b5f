// Command up brings a cluster up for trying things by hand, and takes it down when interrupted.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ambitmesh/ambit/tests/kube/cluster"
	"github.com/ambitmesh/ambit/tests/kube/cluster/build"
	"github.com/ambitmesh/ambit/tests/kube/cluster/machine"
)

func main() {
	machine.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	cache := build.Cache{Root: root, Dir: os.Getenv("AMBIT_KUBE_CACHE"), Log: func(f string, a ...any) { fmt.Printf(f+"\n", a...) }}
	if cache.Dir == "" {
		cache.Dir = filepath.Join(root, "../../dist/kube/cache")
	}
	c, err := cluster.Up(ctx, cache, "worker-a", "worker-b")
	if err != nil {
		return err
	}
	for _, tar := range os.Args[1:] {
		if err := c.Import(ctx, tar); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Printf("in its network: nsenter -t %d --net -- %s --kubeconfig %s get pods -A\n", c.Control.Pid(), filepath.Join(cache.Bin(), "kubectl"), c.Kubeconfig())
	for _, n := range c.Nodes {
		fmt.Printf("in %s: nsenter -t %d -m -n -u -i -p -C --wd=/ -- sh\n", n.Name, n.Pid())
	}
	fmt.Printf("state and logs: %s; interrupt to end\n", c.Dir)
	<-ctx.Done()
	return c.Down()
}
