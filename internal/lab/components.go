package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const readyWait = time.Minute

func (l *Lab) binary(name string) string { return filepath.Join(l.opts.Bin, name) }

// start starts the controller and every node's agent and ztunnel.
func (l *Lab) start(ctx context.Context) error {
	l.opts.Progress("starting the controller")
	if err := l.StartController(ctx); err != nil {
		return err
	}
	for _, name := range l.opts.Nodes {
		l.opts.Progress("starting the agent and ztunnel of " + name)
		if err := l.nodes[name].StartAgent(ctx); err != nil {
			return err
		}
		if _, err := l.nodes[name].StartZtunnel(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ControllerAddress is where proxies find the controller.
func (l *Lab) ControllerAddress() string {
	v4, _ := onFabric(2)
	return netip.AddrPortFrom(v4, 15012).String()
}

// StartController starts the controller and waits until it is ready.
func (l *Lab) StartController(ctx context.Context) error {
	v4, v6 := onFabric(2)
	args := []string{l.binary("ambit-controller"), "--source", "dir:" + l.ObjectsDir(), "--listen", ":15012",
		"--state-dir", l.ControllerDir(), "--trust-domain", l.opts.TrustDomain,
		"--server-name", v4.String(), "--server-name", v6.String(), "--metrics-addr", ":15020", "--ready-addr", ":15021"}
	if l.opts.LeafLife > 0 {
		args = append(args, "--leaf-life", l.opts.LeafLife.String())
	}
	p, err := l.controller.Start(Command{Args: append(args, l.opts.ControllerArgs...), Log: "controller"})
	if err != nil {
		return err
	}
	l.control.Process = p
	return l.ready(ctx, p, "controller", filepath.Join(l.ControllerDir(), "controller.sock"))
}

// Controller is the controller's process; nil before its start.
func (l *Lab) Controller() *Process { return l.control.Process }

// ControllerHost is the place of the controller.
func (l *Lab) ControllerHost() *Host { return l.controller }

// StartAgent starts the node's agent and waits until it is ready.
func (n *Node) StartAgent(ctx context.Context) error {
	o := n.lab.opts
	probe := o.ProbeCgroup
	if probe == "" {
		probe = n.KubeletCgroup()
	}
	args := []string{n.lab.binary("ambit-agent"), "--source", "dir:" + n.lab.ObjectsDir(), "--node", n.Name,
		"--instance", n.Instance(), "--bpffs", n.lab.BPFFS(), "--cgroup-root", n.cgroup, "--run-dir", n.RunDir(),
		"--probe-cgroup", probe, "--metrics-addr", ":15020", "--ready-addr", ":15021"}
	p, err := n.Start(Command{Args: append(args, o.AgentArgs...), Log: n.Name + "-agent", Cgroup: filepath.Join(n.cgroup, "agent")})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.agent.Process = p
	n.mu.Unlock()
	return n.lab.ready(ctx, p, "agent of "+n.Name, filepath.Join(n.RunDir(), "agent.sock"))
}

// Agent is the agent's process; nil before its start.
func (n *Node) Agent() *Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.agent.Process
}

// CleanAgent runs the agent's cleanup verb on the node's instance.
func (n *Node) CleanAgent(ctx context.Context) error {
	return n.lab.run(ctx, n.Host, n.lab.binary("ambit-agent"), "cleanup", "--instance", n.Instance(),
		"--bpffs", n.lab.BPFFS(), "--cgroup-root", n.cgroup)
}

// run runs a command to its end.
func (l *Lab) run(ctx context.Context, h *Host, args ...string) error {
	_, err := l.output(ctx, h, args...)
	return err
}

func (l *Lab) ready(ctx context.Context, p *Process, what, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	err := p.until(ctx, func(ctx context.Context) error {
		_, err := getUnix(ctx, socket, "/healthz/ready")
		return err
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w", what, err)
	}
	return nil
}

// JoinToken makes a join token of the node.
func (n *Node) JoinToken(ctx context.Context) ([]byte, error) {
	out, err := n.lab.output(ctx, n.lab.controller, n.lab.binary("ambit-controller"), "token", "create",
		"--state-dir", n.lab.ControllerDir(), "--node", n.Name)
	if err != nil {
		return nil, fmt.Errorf("make a join token for %s: %w", n.Name, err)
	}
	return out, nil
}

// RenewToken puts a new join token into the file that the node's ztunnels read, and returns its path.
func (n *Node) RenewToken(ctx context.Context) (string, error) {
	out, err := n.JoinToken(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(n.dir(), "token")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		return "", fmt.Errorf("keep join token: %w", err)
	}
	return path, nil
}

func atPort(port int) string { return net.JoinHostPort("", strconv.Itoa(port)) }
