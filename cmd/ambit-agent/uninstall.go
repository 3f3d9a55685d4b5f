package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/report"
)

const (
	askTime = 10 * time.Second // for what the API server says of the DaemonSet
	// refusedTime is how long the API server must refuse to answer until that counts as its being gone: with
	// the DaemonSet goes the right to ask for it.
	refusedTime = 5 * time.Second
	leaveTime   = 45 * time.Second // for connections to end
	clearTime   = 10 * time.Second
	proxyTime   = 15 * time.Second // for proxies to end after their last pod
)

// leftovers are what the mesh keeps in the run directory, which is a mount and stays. The proxy ends after
// the agent; with its directory gone it cannot leave anything there.
var leftovers = []string{"agent.sock", "zds", "cni", "ztunnel", "ztunnel.sock", "ztunnel-snapshot"}

// awaitProxies waits for the node's proxies to end, which write until then.
func awaitProxies(ctx context.Context, runDir string) {
	for {
		alive := false
		for _, dir := range []string{"", "ztunnel"} {
			c, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(runDir, dir, "ztunnel.sock"))
			if err == nil {
				c.Close()
				alive = true
			}
		}
		if !alive {
			return
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// defaultDaemonSet is the one that the manifests make, if this is a pod of theirs.
func defaultDaemonSet() string {
	if ns := os.Getenv("POD_NAMESPACE"); ns != "" {
		return ns + "/ambit-agent"
	}
	return ""
}

// isUninstalled says whether the agent ends for good: its DaemonSet is gone or going. An agent that only
// restarts leaves everything in place.
func (k *kube) isUninstalled(ctx context.Context) bool {
	namespace, name, ok := strings.Cut(cmp.Or(k.o.daemonSet, defaultDaemonSet()), "/")
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	client, err := metadata.NewForConfig(k.rc)
	if err != nil {
		k.cfg.Log.Warn("ask for the agent's DaemonSet; the node is left as it is", "error", err)
		return false
	}
	sets := client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}).Namespace(namespace)
	for begin := time.Now(); ; {
		set, err := sets.Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			return set.DeletionTimestamp != nil
		case apierrors.IsNotFound(err):
			return true
		case (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)) && time.Since(begin) > refusedTime:
			return true
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			k.cfg.Log.Warn("ask for the agent's DaemonSet; the node is left as it is", "error", err)
			return false
		}
	}
}

// leave takes the node's pods out of the mesh, new ones first, while the proxy still runs.
func (k *kube) leave(ctx context.Context) {
	k.cfg.Log.Info("the agent is being uninstalled: its pods leave the mesh")
	if k.installer != nil {
		if err := k.installer.Uninstall(); err != nil {
			k.cfg.Log.Warn("uninstall CNI plugin", "error", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	if err := k.agent.Leave(ctx); err != nil {
		k.cfg.Log.Warn("some pods have not left the mesh", "error", err)
	}
}

// clean removes what is left: of the kernel's, on disk, and in the cluster.
func (k *kube) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clearTime)
	defer cancel()
	err := agent.Cleanup(k.o.bpffs, k.o.cgroupRoot, k.o.instance)
	if cerr := report.Clear(ctx, k.rc, k.cfg.Node); cerr != nil { // with the agent's rights gone it cannot be done
		k.cfg.Log.Warn("remove annotations", "error", cerr)
	}
	wait, stop := context.WithTimeout(context.WithoutCancel(ctx), proxyTime)
	defer stop()
	awaitProxies(wait, k.o.runDir)
	for _, name := range leftovers {
		err = errors.Join(err, os.RemoveAll(filepath.Join(k.o.runDir, name)))
	}
	if err != nil {
		return fmt.Errorf("clean the node: %w", err)
	}
	return nil
}
