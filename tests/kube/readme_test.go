package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/tests/kube/cluster"
)

// firstInstall installs as the section "In Kubernetes" of README.md says, by its own commands: all tests run in
// a cluster that they made. Its namespace shop has a pod, which is then in the mesh.
func firstInstall(ctx context.Context) error {
	commands, err := readme()
	if err != nil {
		return err
	}
	exe, err := commandLine()
	if err != nil {
		return err
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	dir, env, err := desk(exe)
	if err != nil {
		return err
	}
	shop := pod{namespace: "shop", name: "web", node: nodeA}
	if err := c.Apply(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---"+shop.yaml()); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "-n", "shop", "wait", "--for=condition=Ready", "pod/web", "--timeout=60s"); err != nil {
		return err
	}
	for _, line := range commands {
		cmd := exec.CommandContext(ctx, "sh", "-ec", line)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("README.md: %s: %w\n%s", line, err, out)
		}
		if err := afterwards(ctx, line, string(out)); err != nil {
			return fmt.Errorf("README.md: %s: %w\n%s", line, err, out)
		}
	}
	if _, err := c.Kubectl(ctx, "delete", "namespace", "shop", "--wait=false"); err != nil {
		return err
	}
	fmt.Printf("the mesh is installed by the %d commands of README.md after %.1f s\n", len(commands), time.Since(begin).Seconds())
	return ready(ctx)
}

// readme is the code block of the section, line by line. What it says of the images is prose; they are imported
// as soon as they are made.
func readme() ([]string, error) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		return nil, fmt.Errorf("read the README: %w", err)
	}
	found := regexp.MustCompile("(?s)\n## In Kubernetes\n([^#]*?)\n```sh\n(.*?)\n```\n").FindSubmatch(text)
	if found == nil || !strings.Contains(string(found[1]), "import `dist/images/*.tar` on the nodes") {
		return nil, errors.New("README.md: no section In Kubernetes with images to import and commands to run")
	}
	commands := strings.Split(string(found[2]), "\n")
	for _, want := range []string{"make", "bin/ambit check", "kubectl apply", "kubectl label namespace shop ", "bin/ambit status"} {
		if !strings.Contains(string(found[2]), want) {
			return nil, fmt.Errorf("README.md: no command %s in %q", want, commands)
		}
	}
	for _, line := range commands {
		if first, _, _ := strings.Cut(line, " "); first != "make" && first != "kubectl" && first != "bin/ambit" {
			return nil, fmt.Errorf("README.md: this test cannot run %q", line)
		}
	}
	return commands, nil
}

// desk is the directory of somebody who installs, and the environment: kubectl and bin/ambit talk to this cluster,
// and see no mesh of this machine. `make test-kube` has made the images and the command line is the one that
// was built already; make says what it would do.
func desk(exe string) (dir string, env []string, err error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", nil, fmt.Errorf("find the source: %w", err)
	}
	maker, err := exec.LookPath("make")
	if err != nil {
		return "", nil, fmt.Errorf("find make: %w", err)
	}
	dir = filepath.Join(c.Dir, "desk")
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return "", nil, fmt.Errorf("make a desk: %w", err)
	}
	inNet := fmt.Sprintf("#!/bin/sh\nexport KUBECONFIG=%s\nexec nsenter -t %d --net -- ", c.Kubeconfig(), c.Control.Pid())
	for name, script := range map[string]string{
		"kubectl":   inNet + filepath.Join(c.Cache.Bin(), "kubectl") + " --cache-dir " + filepath.Join(c.Dir, "discovery") + ` "$@"`,
		"bin/ambit": inNet + `unshare --mount sh -c 'mount -t tmpfs tmpfs /run && exec "$0" "$@"' ` + exe + ` "$@"`,
		"make":      "#!/bin/sh\nunset MAKEFLAGS MAKELEVEL\nexec " + maker + " -n -C " + root + ` "$@"`,
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(script+"\n"), 0o755))
	}
	err = errors.Join(err, os.Symlink(filepath.Join(root, "manifests"), filepath.Join(dir, "manifests")))
	return dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH")), err
}

// afterwards looks at what a command was to bring about.
func afterwards(ctx context.Context, line, out string) error {
	words := func(all ...string) error {
		if lineWith(out, all...) == "" {
			return fmt.Errorf("says no line with %q", all)
		}
		return nil
	}
	switch {
	case strings.HasPrefix(line, "make "):
		return errors.Join(words("./manifests/images"), words("-o bin/"), ours.load(ctx))
	case strings.HasPrefix(line, "bin/ambit check"):
		return errors.Join(words("ok", "Ambit is not installed", "kubectl apply"), words("ok", "API server"))
	case strings.HasPrefix(line, "kubectl label namespace shop "):
		return cluster.Await(ctx, 30*time.Second, "capture of the pod in shop", func() error {
			got, err := c.Kubectl(ctx, "-n", "shop", "get", "pod", "web", "-o", `jsonpath={.metadata.annotations.ambient\.istio\.io/redirection}`)
			if err == nil && got != "enabled" {
				err = fmt.Errorf("redirection %q", got)
			}
			return err
		})
	case strings.HasPrefix(line, "bin/ambit status"):
		return errors.Join(words(nodeA), words("shop/web"))
	}
	return nil
}
