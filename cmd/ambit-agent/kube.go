package main

import (
	"context"
	"errors"
	"time"

	"k8s.io/client-go/rest"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/cni"
	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/report"
	"github.com/ambitmesh/ambit/agent/sandbox"
	"github.com/ambitmesh/ambit/internal/objects"
)

// kube is an agent in a cluster.
type kube struct {
	o     options
	cfg   agent.Config
	rc    *rest.Config
	agent *agent.Agent
	world *agent.KubeWorld

	writer    *report.Writer
	installer *cni.Installer // nil: no plugin
	server    *cni.Server
	paths     cni.Paths
}

func runKube(ctx context.Context, o options, cfg agent.Config, rc *rest.Config) error {
	k := &kube{o: o, cfg: cfg, rc: rc}
	if err := k.build(); err != nil {
		if k.agent != nil {
			err = errors.Join(err, k.agent.Close())
		}
		return err
	}
	return k.run(ctx)
}

func (k *kube) build() error {
	paths, plugin, err := k.o.cniPaths()
	if err != nil {
		return err
	}
	k.paths = paths
	if plugin {
		if err := cni.Foreign(paths.ConfDir); err != nil {
			return err
		}
		if k.installer, err = cni.NewInstaller(paths, k.cfg.Log, time.Now, k.cfg.Registry); err != nil {
			return err
		}
	}
	if err := k.buildWorld(); err != nil {
		return err
	}
	k.writer, err = report.New(report.Options{
		Config: k.rc, Node: k.cfg.Node, Log: k.cfg.Log, Now: time.Now, Registry: k.cfg.Registry,
		Pods: func() []agent.PodStatus { return k.agent.PodStatuses() },
	})
	if err != nil {
		return err
	}
	k.cfg.World, k.cfg.Changed = k.world, k.writer.Changed
	if k.agent, err = start(k.cfg); err != nil {
		return err
	}
	k.server, err = cni.NewServer(&agent.Plugin{Agent: k.agent, World: k.world}, k.cfg.Log, time.Now, k.cfg.Registry)
	return err
}

func (k *kube) buildWorld() error {
	src, err := objects.NewAPIServer(k.rc, objects.APIOptions{Node: k.cfg.Node, Kinds: agent.AgentKinds(), Log: k.cfg.Log})
	if err != nil {
		return err
	}
	host, err := netns.Self()
	if err != nil {
		return err
	}
	inode := host.Inode
	if err := host.Close(); err != nil {
		return err
	}
	k.world = agent.NewKubeWorld(src, k.cfg.Node, agent.KubeOptions{
		Finder: sandbox.New("", inode), OnView: k.list, Log: k.cfg.Log, Now: time.Now,
	})
	return nil
}

// list tells the plugin which namespaces are in the mesh.
func (k *kube) list(v agent.View) {
	if k.installer != nil {
		k.installer.List(v.Ambient())
	}
}

// run works until ctx ends; then it cleans the node if the agent is being uninstalled.
func (k *kube) run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var uninstalled bool
	more := []func(context.Context) error{
		k.writer.Run,
		func(ctx context.Context) error { return k.server.Run(ctx, k.paths.Dir) },
		func(inner context.Context) error {
			defer stop()
			select {
			case <-ctx.Done():
			case <-inner.Done(): // something failed
				return nil
			}
			if uninstalled = k.isUninstalled(inner); uninstalled {
				k.leave(inner)
			}
			return nil
		},
	}
	if k.installer != nil {
		more = append(more, k.installer.Run)
	}
	err := errors.Join(serve(work, k.agent, k.o, more...), k.agent.Close())
	if uninstalled {
		err = errors.Join(err, k.clean(context.WithoutCancel(ctx)))
	}
	return err
}
