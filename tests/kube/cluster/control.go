package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster/machine"
	"github.com/ambitmesh/ambit/tests/kube/cluster/pki"
)

func (c *Cluster) pki(name string) string { return filepath.Join(c.Dir, "pki", name) }
func (c *Cluster) bin(name string) string { return filepath.Join(c.Cache.Bin(), name) }

// certificates makes all keys of the cluster.
func (c *Cluster) certificates(context.Context) error {
	dir := c.pki("")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory of keys: %w", err)
	}
	ca, err := pki.New(dir, "ca")
	if err != nil {
		return err
	}
	front, err := pki.New(dir, "front-proxy-ca")
	if err != nil {
		return err
	}
	if _, err := pki.NewKey(dir, "sa"); err != nil {
		return err
	}
	if err := front.Issue(dir, "front-proxy", pki.Who{Name: "front-proxy-client"}); err != nil {
		return err
	}
	hosts := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", apiAddress, "10.92.0.1"}
	who := map[string]pki.Who{
		"apiserver":          {Name: "kube-apiserver", Hosts: hosts},
		"apiserver-kubelet":  {Name: "kube-apiserver-kubelet-client", Group: "system:masters"},
		"admin":              {Name: "admin", Group: "system:masters"},
		"controller-manager": {Name: "system:kube-controller-manager"},
		"scheduler":          {Name: "system:kube-scheduler"},
		"proxy":              {Name: "system:kube-proxy"},
	}
	for _, n := range c.Nodes {
		who["node-"+n.Name] = pki.Who{Name: "system:node:" + n.Name, Group: "system:nodes", Hosts: []string{n.Name, n.Address}}
	}
	for name, w := range who {
		if err := ca.Issue(dir, name, w); err != nil {
			return err
		}
		if err := pki.Kubeconfig(dir, name, server); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) controlSpec() machine.Spec {
	dir := filepath.Join(c.Dir, "control")
	p := c.pki
	return machine.Spec{Name: "control", Dir: dir, Cgroup: c.Name + "/control", Daemons: []machine.Daemon{
		{Name: "etcd", Args: []string{
			c.bin("etcd"), "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
			"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
			"--listen-peer-urls", "http://127.0.0.1:2380",
		}},
		{Name: "kube-apiserver", Args: []string{
			c.bin("kube-apiserver"), "--etcd-servers", "http://127.0.0.1:2379", "--advertise-address", apiAddress,
			"--allow-privileged=true", "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
			"--client-ca-file", p("ca.crt"), "--tls-cert-file", p("apiserver.crt"), "--tls-private-key-file", p("apiserver.key"),
			"--kubelet-client-certificate", p("apiserver-kubelet.crt"), "--kubelet-client-key", p("apiserver-kubelet.key"),
			"--kubelet-certificate-authority", p("ca.crt"), "--kubelet-preferred-address-types", "InternalIP",
			"--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file", p("sa.pub"), "--service-account-signing-key-file", p("sa.key"),
			"--service-cluster-ip-range", services, "--enable-aggregator-routing=true",
			"--requestheader-client-ca-file", p("front-proxy-ca.crt"), "--requestheader-allowed-names", "front-proxy-client",
			"--requestheader-extra-headers-prefix", "X-Remote-Extra-", "--requestheader-group-headers", "X-Remote-Group",
			"--requestheader-username-headers", "X-Remote-User",
			"--proxy-client-cert-file", p("front-proxy.crt"), "--proxy-client-key-file", p("front-proxy.key"),
		}},
		{Name: "kube-controller-manager", Args: []string{
			c.bin("kube-controller-manager"), "--kubeconfig", p("controller-manager.kubeconfig"), "--bind-address", "127.0.0.1",
			"--leader-elect=false", "--use-service-account-credentials=true", "--service-account-private-key-file", p("sa.key"),
			"--root-ca-file", p("ca.crt"), "--cluster-signing-cert-file", p("ca.crt"), "--cluster-signing-key-file", p("ca.key"),
			"--allocate-node-cidrs=false", "--cluster-cidr", podRange, "--service-cluster-ip-range", services,
		}},
		{Name: "kube-scheduler", Args: []string{
			c.bin("kube-scheduler"), "--kubeconfig", p("scheduler.kubeconfig"), "--bind-address", "127.0.0.1", "--leader-elect=false",
		}},
	}}
}

func (c *Cluster) startMachines(context.Context) (err error) {
	spec := c.controlSpec()
	if c.Control, err = machine.Start(spec); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) awaitAPI(ctx context.Context) error {
	return Await(ctx, 3*time.Minute, "API server", func() error {
		_, err := c.Kubectl(ctx, "get", "--raw", "/readyz")
		return err
	})
}
