package agent

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/ambitmesh/ambit/agent/cni"
	"github.com/ambitmesh/ambit/agent/netns"
)

// Plugin does what the CNI plugin asks for.
type Plugin struct {
	Agent *Agent
	World *KubeWorld
}

var _ cni.Mesh = (*Plugin)(nil)

// Add implements cni.Mesh.
func (x *Plugin) Add(ctx context.Context, s cni.Sandbox, ns *os.File) error {
	for s.UID == "" { // an old container runtime
		if s.UID = x.Agent.SandboxOf(s.Namespace, s.Name); s.UID != "" {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(errUnseen, ns.Close())
		}
	}
	err := x.World.Tell(Told{
		Sandbox: s.UID, Namespace: s.Namespace, Name: s.Name, Container: s.Container, NetNS: ns, Addresses: s.Addresses,
	})
	if err != nil {
		return errors.Join(err, ns.Close())
	}
	x.Agent.expect(s.UID)
	return x.Agent.Await(ctx, s.UID)
}

// Del implements cni.Mesh.
func (x *Plugin) Del(ctx context.Context, s cni.Sandbox, ns *os.File) error {
	if s.UID == "" {
		s.UID = x.Agent.SandboxOf(s.Namespace, s.Name)
	}
	x.World.Forget(s.UID, s.Container)
	if ns == nil {
		return x.Agent.Release(ctx, s.UID, 0)
	}
	inode, err := netns.InodeOf(ns)
	if err != nil {
		return err
	}
	return x.Agent.Release(ctx, s.UID, inode)
}

// Check implements cni.Mesh.
func (x *Plugin) Check(_ context.Context, s cni.Sandbox) error { return x.Agent.Check(s.UID) }

// Keep implements cni.Mesh.
func (x *Plugin) Keep(containers []string) { x.World.Keep(containers) }
