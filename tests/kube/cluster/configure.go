package cluster

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ambitmesh/ambit/tests/kube/cluster/build"
	"github.com/ambitmesh/ambit/tests/kube/cluster/machine"
)

//go:embed files/kubelet.yaml
var kubeletYAML string

//go:embed files/containerd.toml
var containerdTOML string

//go:embed files/kube-proxy.yaml
var proxyYAML string

//go:embed files/cni.conflist
var cniConflist string

// configure writes the configuration of the node's daemons.
func (n *Node) configure() (machine.Spec, error) {
	dir := filepath.Join(n.c.Dir, n.Name)
	conf := filepath.Join(dir, "conf")
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return machine.Spec{}, fmt.Errorf("make directory of configuration: %w", err)
	}
	fill, err := n.values()
	if err != nil {
		return machine.Spec{}, err
	}
	files := map[string]string{"kubelet.yaml": kubeletYAML, "containerd.toml": containerdTOML, "kube-proxy.yaml": proxyYAML}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(conf, name), []byte(fill.Replace(text)), 0o644); err != nil {
			return machine.Spec{}, fmt.Errorf("write configuration: %w", err)
		}
	}
	return machine.Spec{
		Name: n.Name, Dir: dir, Cgroup: n.c.Name + "/" + n.Name,
		Node:    &machine.Node{Address: n.Address, Plugins: n.c.bin("cni"), CNI: []byte(fill.Replace(cniConflist))},
		Daemons: n.daemons(conf),
	}, nil
}

func (n *Node) values() (*strings.Replacer, error) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return nil, fmt.Errorf("find the container runtime (Debian: apt-get install runc): %w", err)
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	return strings.NewReplacer(
		"@NODE@", n.Name, "@CIDR@", n.CIDR, "@PKI@", n.c.pki(""), "@DNS@", dnsAddress, "@PODS@", podRange,
		"@RUNC@", runc, "@PAUSE@", build.PauseImage, "@FILES@", fmt.Sprint(files.Max)), nil
}

func (n *Node) daemons(conf string) []machine.Daemon {
	path := "PATH=" + n.c.Cache.Bin() + ":" + os.Getenv("PATH") // of the shim
	return []machine.Daemon{
		{Name: "containerd", Env: []string{path}, Args: []string{n.c.bin("containerd"), "--config", conf + "/containerd.toml"}},
		{Name: "kubelet", Args: []string{
			n.c.bin("kubelet"), "--config", conf + "/kubelet.yaml", "--kubeconfig", n.c.pki("node-" + n.Name + ".kubeconfig"),
			"--hostname-override", n.Name, "--node-ip", n.Address, "--root-dir", "/var/lib/kubelet",
		}},
		{Name: "kube-proxy", Args: []string{n.c.bin("kube-proxy"), "--config", conf + "/kube-proxy.yaml"}},
	}
}
