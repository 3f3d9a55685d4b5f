package build

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// program is one binary and the module under modules/ that says its version.
type program struct {
	module  string // directory
	name    string // in the cache
	pkg     string // import path, or "." for the module's own program
	tags    string
	ldflags string
}

const containerd = "github.com/containerd/containerd/v2"

// programs lists all, with the versions that their modules' go.mod files state: without -X these
// programs do not know them.
func programs(modules string) ([]program, error) {
	kube, err := required(filepath.Join(modules, "kubernetes/go.mod"), "k8s.io/kubernetes")
	if err != nil {
		return nil, err
	}
	runtime, err := required(filepath.Join(modules, "containerd/go.mod"), containerd)
	if err != nil {
		return nil, err
	}
	all := []program{
		{"kubernetes", "etcd", "go.etcd.io/etcd/server/v3", "", ""},
		{"coredns", "coredns", ".", "", ""},
	}
	for _, c := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"} {
		all = append(all, program{"kubernetes", c, "k8s.io/kubernetes/cmd/" + c, "", kubeFlags(kube)})
	}
	for _, c := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		flags := fmt.Sprintf("-X %[1]s/version.Version=%[2]s -X %[1]s/version.Package=%[1]s", containerd, runtime)
		all = append(all, program{"containerd", c, containerd + "/cmd/" + c, "no_btrfs no_zfs no_devmapper urfave_cli_no_docs", flags})
	}
	for _, c := range []string{"main/loopback", "main/ptp", "ipam/host-local", "meta/portmap"} {
		all = append(all, program{"containerd", "cni/" + filepath.Base(c), "github.com/containernetworking/plugins/plugins/" + c, "", ""})
	}
	return all, nil
}

func kubeFlags(version string) string {
	minor, _, _ := strings.Cut(strings.TrimPrefix(version, "v1."), ".")
	const p = "-X k8s.io/component-base/version."
	return p + "gitVersion=" + version + " " + p + "gitMajor=1 " + p + "gitMinor=" + minor + " " + p + "gitTreeState=clean" +
		" -X k8s.io/client-go/pkg/version.gitVersion=" + version
}

// required reads the version of a module that a go.mod requires.
func required(file, module string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("open module file: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(s.Text()), "require "))
		if len(words) >= 2 && words[0] == module && strings.HasPrefix(words[1], "v") {
			return words[1], nil
		}
	}
	return "", fmt.Errorf("%s requires no %s", file, module)
}
