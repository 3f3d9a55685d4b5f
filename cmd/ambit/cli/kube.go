package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/ambitmesh/ambit/cmd/ambit/cluster"
)

// inCluster says that a cluster was asked for.
func (o *options) inCluster() bool { return o.kube || o.kubeconfig != "" || o.context != "" }

// load opens the cluster, once.
func (o *options) load() (*cluster.Cluster, error) {
	if o.opened != nil {
		return o.opened, nil
	}
	c, err := cluster.Load(o.kubeconfig, o.context)
	o.opened = c
	return c, err
}

// orCluster looks at the kubeconfig's cluster if there is one, else none is the answer.
func (o *options) orCluster(ctx context.Context, none error) ([]node, error) {
	_, err := o.load()
	if errors.Is(err, cluster.ErrNoConfig) {
		return nil, none
	}
	if err != nil {
		return nil, errors.Join(none, err)
	}
	o.kube = true
	return o.clusterNodes(ctx)
}

// clusterNodes are the cluster's nodes: proxies by port-forward; for agents, whose sockets are the
// node's root's alone, speak the objects.
func (o *options) clusterNodes(ctx context.Context) ([]node, error) {
	c, err := o.load()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := c.Pods(ctx)
	if err != nil {
		return nil, err
	}
	var out []node
	for _, n := range nodes {
		out = append(out, node{
			Name: n.Name, proxy: proxyOf(c, n),
			agent: func(context.Context) (agentStatus, error) { return agentOf(n, pods) },
		})
	}
	return out, nil
}

func proxyOf(c *cluster.Cluster, n cluster.Node) asker {
	return func(ctx context.Context, path string, query url.Values) ([]byte, error) {
		if n.Ztunnel == nil {
			return nil, fmt.Errorf("node %s has no pod of %s", n.Name, cluster.Ztunnel)
		}
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		b, err := c.Admin(ctx, n.Ztunnel.Pod, path, query)
		if err != nil && n.Ztunnel.Why != "" {
			err = fmt.Errorf("%w (%s)", err, n.Ztunnel.Why)
		}
		return b, err
	}
}

// agentOf is what objects tell of an agent: its own pod, and what it wrote on others.
func agentOf(n cluster.Node, pods []cluster.Pod) (agentStatus, error) {
	s := agentStatus{Node: n.Name, Kernel: n.Kernel, Pods: []pod{}}
	for _, p := range pods {
		if p.Node == n.Name {
			s.Pods = append(s.Pods, podOf(p))
		}
	}
	switch {
	case n.Agent == nil:
		return s, fmt.Errorf("node %s has no pod of %s", n.Name, cluster.Agent)
	case !n.Agent.Ready:
		return s, fmt.Errorf("pod %s is not ready: %s", n.Agent.Pod, n.Agent.Why)
	}
	s.Version = tagOf(n.Agent.Image)
	return s, nil
}

func podOf(p cluster.Pod) pod {
	x := pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Desired: "none", Actual: "plain", Why: p.Why, Addresses: p.Addresses}
	if p.Wanted {
		x.Desired = "ambient"
	}
	if p.Captured {
		x.Actual = "enrolled"
	}
	return x
}

// tagOf is the version in an image's name.
func tagOf(image string) string {
	name := path.Base(image)
	if _, tag, ok := strings.Cut(name, ":"); ok {
		return tag
	}
	return name
}
