// Package cluster looks at a mesh through a Kubernetes API server, with the rights of whoever asks: the
// proxies' admin pages through port-forward, the rest from objects. It changes nothing.
package cluster

import (
	"errors"
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Namespace is where the mesh's own parts are.
const Namespace = "ambit-system"

// Names of the mesh's own parts, as the label app.kubernetes.io/name of their pods says.
const (
	Agent      = "ambit-agent"
	Ztunnel    = "ambit-ztunnel"
	Controller = "ambit-controller"
)

// ErrNoConfig says that nothing names a cluster.
var ErrNoConfig = errors.New("no kubeconfig: set KUBECONFIG or use --kubeconfig")

// Cluster is one Kubernetes cluster. Its methods may be called concurrently.
type Cluster struct {
	Core    kubernetes.Interface
	Dynamic dynamic.Interface
	Dial    Dialer // into pods
}

// Load reads the kubeconfig as kubectl does: file, else $KUBECONFIG, else ~/.kube/config, else the
// account of the pod that it runs in. ErrNoConfig if there is none of them.
func Load(file, context string) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context}).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, ErrNoConfig
	}
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	return New(cfg)
}

// New is the cluster that cfg reaches.
func New(cfg *rest.Config) (*Cluster, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = 50, 100 // a person waits
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &Cluster{Core: core, Dynamic: dyn, Dial: forwarder(cfg, core)}, nil
}
