package istio

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
	"github.com/ambitmesh/ambit/internal/xds"
)

// claims tell the controller which pods are captured: Istio's ztunnel leaves that to an annotation.
type claims struct {
	client *xds.Client

	mu   sync.Mutex
	uids []string
}

func newClaims(n *node) (*claims, error) {
	c, err := xds.NewClient(xds.ClientConfig{
		Dial:  func(context.Context) (*grpc.ClientConn, error) { return n.grpc(n.tls()) },
		Node:  &discovery.Node{Id: "claims~" + n.on.V4.String() + "~" + n.on.Name + ".istio-system~istio-system.svc." + trustDomain},
		Store: mesh.NewStore(mesh.Options{}),
	})
	return &claims{client: c}, err
}

func (c *claims) run(ctx context.Context) {
	c.client.Run(ctx) // its error is always nil
}

func (c *claims) add(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uids = append(c.uids, uid)
	c.client.SetCaptured(slices.Clone(c.uids))
}

// announced is an error until every proxy knows all pods as captured.
func (c *claims) announced() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, uid := range c.uids {
		if !c.client.Announced(uid) {
			return fmt.Errorf("the controller has not announced %s (its stream: %s)", uid, c.client.Status().LastError)
		}
	}
	return nil
}
