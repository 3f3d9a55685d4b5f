package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Ztunnel is one proxy process of a node, in a namespace and a cgroup of its own, as its pod would be.
type Ztunnel struct {
	*Host
	*Process
	node *Node
	link string
}

// StartZtunnel starts a ztunnel beside those that run, and waits until it is ready.
func (n *Node) StartZtunnel(ctx context.Context, extra ...string) (*Ztunnel, error) {
	z, err := n.LaunchZtunnel(ctx, extra...)
	if err != nil {
		return nil, err
	}
	return z, n.lab.ready(ctx, z.Process, "ztunnel of "+n.Name, filepath.Join(n.RunDir(), "ztunnel.sock"))
}

// LaunchZtunnel starts a ztunnel and does not wait for it.
func (n *Node) LaunchZtunnel(ctx context.Context, extra ...string) (*Ztunnel, error) {
	token, err := n.RenewToken(ctx)
	if err != nil {
		return nil, err
	}
	v4, v6, link := n.give()
	n.mu.Lock()
	n.started++
	name := fmt.Sprintf("%s-ztunnel-%d", n.Name, n.started)
	cgroup := filepath.Join(n.Name, "ztunnel", fmt.Sprint(n.started))
	n.mu.Unlock()
	h, err := n.lab.newHost(name, cgroup)
	if err != nil {
		return nil, err
	}
	z := &Ztunnel{Host: h, node: n, link: link}
	if err := n.attach(h, link, v4, v6); err != nil {
		return nil, errors.Join(err, h.ns.close())
	}
	if z.Process, err = h.Start(Command{Args: append(n.ztunnelArgs(token), extra...), Log: name}); err != nil {
		return nil, errors.Join(err, n.detach(link), h.ns.close())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ztunnels = append(n.ztunnels, z)
	return z, nil
}

func (n *Node) ztunnelArgs(token string) []string {
	l := n.lab
	args := []string{l.binary("ambit-ztunnel"), "--node", n.Name, "--run-dir", n.RunDir(),
		"--zds", filepath.Join(n.RunDir(), "zds", "zds.sock"), "--controller", l.ControllerAddress(),
		"--controller-root", filepath.Join(l.ControllerDir(), "root.pem"), "--join-token-file", token,
		"--trust-domain", l.opts.TrustDomain, "--metrics-addr", atPort(15020), "--ready-addr", atPort(15021),
		"--admin-addr", "127.0.0.1:15000", "--access-log", l.AccessLog(n.Name)}
	if l.opts.SameNode != "" {
		args = append(args, "--same-node", l.opts.SameNode)
	}
	if l.opts.Engine != "" {
		args = append(args, "--engine", l.opts.Engine)
	}
	return append(args, l.opts.ZtunnelArgs...)
}

// AccessLog is the file of a node's access log.
func (l *Lab) AccessLog(node string) string { return l.LogFile(node + "-access") }

// Ztunnel is the newest ztunnel that runs; nil if none does.
func (n *Node) Ztunnel() *Ztunnel {
	for _, z := range slices.Backward(n.Ztunnels()) {
		if z.Running() {
			return z
		}
	}
	return nil
}

// Remove kills the process, if it still runs, and takes its place away.
func (z *Ztunnel) Remove() error {
	n := z.node
	n.mu.Lock()
	n.ztunnels = slices.DeleteFunc(n.ztunnels, func(x *Ztunnel) bool { return x == z })
	n.mu.Unlock()
	return errors.Join(z.Kill(), removeCgroup(z.cgroup), n.detach(z.link), z.ns.close())
}
