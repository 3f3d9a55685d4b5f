package cli

import (
	"context"
	"fmt"
	"net/url"

	"github.com/ambitmesh/ambit/cmd/ambit/cluster"
)

// clusterController asks a replica of the controller, else reads what it wrote on its users' objects.
func (o *options) clusterController(ctx context.Context) *controllerStatus {
	c, err := o.load()
	if err != nil {
		return &controllerStatus{Error: err.Error()}
	}
	s, err := askController(ctx, c)
	if err != nil {
		s = written(ctx, c)
		s.Error = err.Error()
	}
	return s
}

// askController asks the replicas in turn.
func askController(ctx context.Context, c *cluster.Cluster) (*controllerStatus, error) {
	replicas, err := c.Replicas(ctx)
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("no replica of %s is ready", cluster.Controller)
	for _, r := range replicas {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		s, askErr := get[controllerStatus](ctx, func(ctx context.Context, path string, query url.Values) ([]byte, error) {
			return c.Admin(ctx, r, path, query)
		}, "/status", nil)
		cancel()
		if askErr == nil {
			return &s, nil
		}
		err = askErr
	}
	return nil, err
}

// written is what the controller says on its users' objects.
func written(ctx context.Context, c *cluster.Cluster) *controllerStatus {
	objects, err := c.Objects(ctx)
	if err != nil {
		return &controllerStatus{Error: err.Error()}
	}
	s := &controllerStatus{}
	for _, x := range objects {
		s.Objects = append(s.Objects, objectStatus{
			Kind: x.Kind, Namespace: x.Namespace, Name: x.Name, Accepted: x.Accepted, EnforcedBy: x.EnforcedBy, Message: x.Message, Parts: x.Parts,
		})
	}
	return s
}
