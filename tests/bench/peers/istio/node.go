// Package istio runs Istio's ztunnel on a node of a lab in the place of ours, under our controller and with
// its certificates: in-pod mode, fed over ZDS version 1, with the redirection that Istio's CNI sets up.
package istio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/peers/prom"
)

const (
	trustDomain = "cluster.local"
	clusterID   = "Kubernetes"
)

// Node is a node with Istio's ztunnel.
type Node struct {
	lab    *lab.Lab
	node   *lab.Node
	gate   *gate
	pods   *pods
	claims *claims
	cgroup string
	proc   *lab.Process
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// Start starts a ztunnel on a node that has no agent. The lab's controller must run. Its output, with the
// access log, goes where the access log of the node's own ztunnel would. Close ends what it starts.
func Start(ctx context.Context, l *lab.Lab, on *lab.Node, program string) (*Node, error) {
	own, err := join(ctx, l, on)
	if err != nil {
		return nil, err
	}
	n := &Node{lab: l, node: on, cgroup: filepath.Join(on.Cgroup(), "ztunnel", "istio")}
	if err := os.MkdirAll(n.cgroup, 0o755); err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	if err := n.start(life, own, program); err != nil {
		return nil, errors.Join(fmt.Errorf("start ztunnel of %s: %w", on.Name, err), n.Close())
	}
	return n, n.ready(ctx)
}

func (n *Node) start(life context.Context, own *node, program string) (err error) {
	dir := filepath.Join(n.node.RunDir(), "istio")
	if n.pods, err = servePods(life, filepath.Join(dir, "zds.sock"), &n.tasks); err != nil {
		return err
	}
	if n.gate, err = openGate(life, own, &n.tasks); err != nil {
		return err
	}
	if n.claims, err = newClaims(own); err != nil {
		return err
	}
	n.tasks.Go(func() { n.claims.run(life) })
	root := filepath.Join(dir, "gate.pem")
	if err := os.WriteFile(root, n.gate.root, 0o600); err != nil {
		return fmt.Errorf("keep the gate's certificate: %w", err)
	}
	n.proc, err = n.node.Start(lab.Command{Args: []string{program}, Env: n.env(dir, root), Cgroup: n.cgroup, Log: n.node.Name + "-access"})
	return err
}

// env says what Istio's chart says, with one worker, as all proxies have it that are measured.
func (n *Node) env(dir, root string) []string {
	return []string{
		"PROXY_MODE=shared", "INPOD_UDS=" + filepath.Join(dir, "zds.sock"), "NODE_NAME=" + n.node.Name, "CLUSTER_ID=" + clusterID,
		"XDS_ADDRESS=" + n.gate.url, "CA_ADDRESS=" + n.gate.url, "XDS_ROOT_CA=" + root, "CA_ROOT_CA=" + root,
		"POD_NAME=ztunnel-" + n.node.Name, "POD_NAMESPACE=istio-system", "INSTANCE_IP=" + n.node.V4.String(),
		"ZTUNNEL_WORKER_THREADS=1", "RUST_LOG=info",
	}
}

func (n *Node) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := lab.Eventually(ctx, func(ctx context.Context) error {
		if !n.proc.Running() {
			cancel()
			return errors.New("it ended")
		}
		_, err := n.node.GetFrom(ctx, "http://127.0.0.1:15021/healthz/ready")
		return err
	})
	if err != nil {
		return fmt.Errorf("ztunnel of %s is not ready: %w", n.node.Name, err)
	}
	return nil
}

// Cgroup is that of the process.
func (n *Node) Cgroup() string { return n.cgroup }

// Enrol captures pods of the node: redirection first, then the proxy, then every other proxy knows.
func (n *Node) Enrol(ctx context.Context, all ...*lab.Pod) error {
	for _, p := range all {
		if err := redirect(ctx, p); err != nil {
			return err
		}
		if err := n.pods.add(ctx, p); err != nil {
			return err
		}
		n.claims.add(clusterID + "//Pod/" + p.FullName())
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return lab.Eventually(ctx, func(context.Context) error { return n.claims.announced() })
}

// Tunnelled is how many connections the ztunnel has carried by mutual TLS as the near one.
func (n *Node) Tunnelled(ctx context.Context) (int, error) {
	b, err := n.node.GetFrom(ctx, "http://127.0.0.1:15020/metrics")
	if err != nil {
		return 0, err
	}
	return prom.Sum(b, "istio_tcp_connections_opened_total", `reporter="source"`, `connection_security_policy="mutual_tls"`)
}

// Close ends the process and what serves it.
func (n *Node) Close() error {
	var err error
	if n.proc != nil {
		err = n.proc.Kill()
	}
	n.cancel()
	n.tasks.Wait()
	return err
}
