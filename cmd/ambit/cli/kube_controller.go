package cli

import (
	"context"

	"github.com/ambitmesh/ambit/cmd/ambit/cluster"
)

// clusterController is what the controller wrote on its users' objects: its own socket is inside its
// pod.
func (o *options) clusterController(ctx context.Context) *controllerStatus {
	c, err := o.load()
	if err != nil {
		return &controllerStatus{Error: err.Error()}
	}
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
	if !c.HasController(ctx) {
		s.Error = "no replica of " + cluster.Controller + " is ready: what follows may be old"
	}
	return s
}
