package lab

import (
	"context"

	"github.com/ambitmesh/ambit/internal/lab/app"
)

// Kubelet is a program of the node whose connections are probes. Close it after use.
func (n *Node) Kubelet() (*App, error) { return n.StartApp(n.KubeletCgroup()) }

// Process is a program of the node whose connections are not probes. Close it after use.
func (n *Node) Process() (*App, error) { return n.StartApp(n.HostCgroup()) }

// Probe asks a server that speaks first as the node's kubelet does and returns its banner.
func (n *Node) Probe(ctx context.Context, address string) (BannerLine, error) {
	a, err := n.Kubelet()
	if err != nil {
		return BannerLine{}, err
	}
	defer a.Close()
	return a.Ask(ctx, app.DialArgs{Address: address})
}

// Ask opens a connection to a server that speaks first, reads its banner, pings and closes.
func (a *App) Ask(ctx context.Context, d app.DialArgs) (BannerLine, error) {
	c, err := a.Dial(ctx, d)
	if err != nil {
		return BannerLine{}, err
	}
	defer c.Close(ctx)
	b, err := c.Banner(ctx)
	if err != nil {
		return b, err
	}
	return b, c.Ping(ctx)
}
