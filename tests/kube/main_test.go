package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster"
	"github.com/ambitmesh/ambit/tests/kube/cluster/build"
	"github.com/ambitmesh/ambit/tests/kube/cluster/machine"
)

// The cluster that all tests share, with the mesh installed. TestMain sets it.
var c *cluster.Cluster

const (
	nodeA = "worker-a"
	nodeB = "worker-b"
)

func TestMain(m *testing.M) {
	machine.Main()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	if err := possible(); err != nil {
		code, says := cluster.Without(err, os.Getenv)
		fmt.Println(says)
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cache, err := cacheDir()
	if err == nil {
		c, err = cluster.Up(ctx, cache, nodeA, nodeB)
	}
	if err != nil {
		fmt.Println("bring up a cluster:", err)
		return 1
	}
	defer func() {
		if err := c.Down(); err != nil {
			fmt.Println("take the cluster down:", err)
			code = 1
		}
	}()
	if err := firstInstall(ctx); err != nil {
		fmt.Println("install the mesh:", err)
		fmt.Println(describe())
		return 1
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() { // an interrupted run does not leave the cluster to the next
		select {
		case <-ctx.Done():
			_ = c.Down()
			os.Exit(130)
		case <-ended:
		}
	}()
	code = m.Run()
	if code != 0 {
		fmt.Println(describe())
		keep()
	}
	return code
}

// possible is asked first: to build a cluster's programs takes long.
func possible() error {
	if os.Getuid() != 0 {
		return errors.New("they need root")
	}
	dir, err := os.MkdirTemp("/var/tmp", "ambit-try-")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := machine.Try(dir); err != nil {
		return fmt.Errorf("this machine cannot hold one: %w", err)
	}
	return nil
}

// keep leaves the cluster up after a failure for as long as AMBIT_KUBE_KEEP says.
func keep() {
	if d, err := time.ParseDuration(os.Getenv("AMBIT_KUBE_KEEP")); err == nil {
		fmt.Printf("kept for %v: nsenter -t %d --net -- %s --kubeconfig %s get pods -A\n", d, c.Control.Pid(), filepath.Join(c.Cache.Bin(), "kubectl"), c.Kubeconfig())
		time.Sleep(d)
	}
}

func cacheDir() (build.Cache, error) {
	root, err := os.Getwd()
	if err != nil {
		return build.Cache{}, err
	}
	dir := os.Getenv("AMBIT_KUBE_CACHE")
	if dir == "" {
		dir = filepath.Join(root, "../../dist/kube/cache")
	}
	dir, err = filepath.Abs(dir)
	log := func(format string, a ...any) { fmt.Printf(format+"\n", a...) }
	return build.Cache{Root: root, Dir: dir, Log: log}, err
}

// install does what a user does, again: over what is there, or after an uninstall.
func install(ctx context.Context) error {
	begin := time.Now()
	if err := ours.load(ctx); err != nil {
		return err
	}
	imported := time.Since(begin)
	if err := ours.apply(ctx); err != nil {
		return err
	}
	if err := ready(ctx); err != nil {
		return err
	}
	fmt.Printf("the mesh is installed: images %.1f s, all ready after %.1f s\n", imported.Seconds(), time.Since(begin).Seconds())
	return nil
}

func ready(ctx context.Context) error {
	for _, part := range []string{"deployment/ambit-controller", "daemonset/ambit-agent", "daemonset/ambit-ztunnel"} {
		if _, err := c.Kubectl(ctx, "-n", "ambit-system", "rollout", "status", part, "--timeout=180s"); err != nil {
			return err
		}
	}
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	return err
}

// describe is what one wants to see first when a test failed.
func describe() string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, _ := c.Kubectl(ctx, "get", "pods", "-A", "-o", "wide")
	events, _ := c.Kubectl(ctx, "get", "events", "-A", "--field-selector", "type=Warning", "--sort-by=.lastTimestamp")
	text := all + "\n" + tail(events, 4000)
	for _, part := range []string{"ambit-controller", "ambit-agent", "ambit-ztunnel"} {
		logs, _ := c.Kubectl(ctx, "-n", "ambit-system", "logs", "-l", "app.kubernetes.io/name="+part, "--prefix", "--tail=30")
		text += "\n-- " + part + "\n" + tail(logs, 10000)
	}
	return text
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// commandLine builds the command line once, with the images' flags: most of it is compiled already.
var commandLine = sync.OnceValues(func() (string, error) {
	exe := filepath.Join(c.Dir, "ambit")
	cmd := exec.Command("nice", "go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", exe, "./cmd/ambit")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ambit: %w\n%s", err, out)
	}
	return exe, nil
})

// ambit runs the command line in the control machine's network.
func ambit(t *testing.T, args ...string) (string, error) {
	t.Helper()
	exe, err := commandLine()
	if err != nil {
		t.Fatal(err)
	}
	cmd := c.Control.EnterNet(append([]string{exe}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig())
	out, err := cmd.CombinedOutput()
	return string(out), err
}
