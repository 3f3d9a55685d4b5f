package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ambitmesh/ambit/controller/auth"
	"github.com/ambitmesh/ambit/controller/kube"
	"github.com/ambitmesh/ambit/controller/server"
	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/objects"
)

// kubeOptions are the flags that mean something in a cluster only.
type kubeOptions struct {
	auth, secret, configMap, lease, identity string
	proxies                                  []string
}

func (k *kubeOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&k.auth, "auth", "", "kube: know callers by service account tokens of audience "+auth.Audience)
	f.StringSliceVar(&k.proxies, "proxy-account", []string{"ambit-system/ambit-ztunnel"}, "namespace/name of the nodes' proxies, which may have the identities of their node's pods (repeatable)")
	f.StringVar(&k.secret, "ca-secret", "", "namespace/name of the Secret that holds the CA for all replicas; made at the first start (default: the state directory holds it)")
	f.StringVar(&k.configMap, "root-configmap", "", "name of the ConfigMap, in the namespace of the Secret, to publish the trust bundle in, as "+kube.RootKey)
	f.StringVar(&k.lease, "lease", "", "namespace/name of the Lease whose holder writes status and may rotate the root")
	f.StringVar(&k.identity, "identity", "", "name of this replica in the Lease (default: the host name)")
}

// set names a flag that was given.
func (k *kubeOptions) set() string {
	for _, f := range []struct{ name, value string }{{"auth", k.auth}, {"ca-secret", k.secret}, {"root-configmap", k.configMap}, {"lease", k.lease}} {
		if f.value != "" {
			return f.name
		}
	}
	return ""
}

// What the API server may be asked a second, and at once: status of many objects is written at a start.
const (
	askRate  = 50
	askBurst = 100
)

// fill connects to the cluster of a kubeconfig, or to the one that this process runs in.
func (k *kubeOptions) fill(cfg *server.Config, kubeconfig string) error {
	names, err := k.names()
	if err != nil {
		return err
	}
	if k.auth != "" && k.auth != "kube" {
		return fmt.Errorf("--auth %q: want kube", k.auth)
	}
	rc, err := restConfig(kubeconfig)
	if err != nil {
		return fmt.Errorf("--source kube: %w", err)
	}
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return fmt.Errorf("--source kube: %w", err)
	}
	names.Client = client
	if names.Dynamic, err = dynamic.NewForConfig(rc); err != nil {
		return fmt.Errorf("--source kube: %w", err)
	}
	names.Log, names.Now = cfg.Log, time.Now
	if cfg.Cluster, err = kube.New(names); err != nil {
		return err
	}
	if k.auth == "kube" {
		if cfg.Accounts, err = k.accounts(client); err != nil {
			return err
		}
	}
	// Service accounts say nothing to proxies, and there are many.
	cfg.Kinds = slices.DeleteFunc(objects.Kinds(), func(kind objects.Kind) bool { return kind == objects.ServiceAccount })
	source, err := objects.NewAPIServer(rc, objects.APIOptions{Kinds: cfg.Kinds, Log: cfg.Log})
	if err != nil {
		return fmt.Errorf("--source kube: %w", err)
	}
	cfg.Source = func(uint32) objects.Source { return source }
	cfg.Captures = xds.CaptureOptions{RetireLag: retireLag}
	return nil
}

// retireLag is for the proxies of the other replica: it, too, sees the pod's annotation go.
const retireLag = 2 * time.Second

func restConfig(kubeconfig string) (*rest.Config, error) {
	var rc *rest.Config
	var err error
	if kubeconfig == "" {
		rc, err = rest.InClusterConfig()
	} else {
		rc, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, err
	}
	rc.QPS, rc.Burst, rc.UserAgent = askRate, askBurst, "ambit-controller"
	return rc, nil
}

func (k *kubeOptions) names() (c kube.Config, err error) {
	for _, f := range []struct {
		flag, value string
		to          *types.NamespacedName
	}{{"ca-secret", k.secret, &c.Secret}, {"lease", k.lease, &c.Lease}} {
		if f.value == "" {
			continue
		}
		namespace, name, ok := strings.Cut(f.value, "/")
		if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return c, fmt.Errorf("--%s %q: want <namespace>/<name>", f.flag, f.value)
		}
		*f.to = types.NamespacedName{Namespace: namespace, Name: name}
	}
	if k.configMap != "" {
		if k.secret == "" {
			return c, fmt.Errorf("--root-configmap %q: needs --ca-secret", k.configMap)
		}
		c.ConfigMap = types.NamespacedName{Namespace: c.Secret.Namespace, Name: k.configMap}
	}
	host, err := os.Hostname()
	if err != nil && k.identity == "" {
		return c, fmt.Errorf("--identity: %w", err)
	}
	c.Identity = cmp.Or(k.identity, host)
	return c, nil
}

func (k *kubeOptions) accounts(client kubernetes.Interface) (*auth.AccountsConfig, error) {
	out := &auth.AccountsConfig{Reviewer: auth.TokenReview{Client: client.AuthenticationV1().TokenReviews()}}
	for _, p := range k.proxies {
		a, err := auth.ParseAccount(p)
		if err != nil {
			return nil, fmt.Errorf("--proxy-account: %w", err)
		}
		out.Proxies = append(out.Proxies, a)
	}
	return out, nil
}
