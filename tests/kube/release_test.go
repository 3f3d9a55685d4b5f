package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// release is a version of the mesh: images, and the manifests that name them.
type release struct {
	tag     string
	version string // that its proxies tell
	images  string // directory, as manifests
	files   string
}

// ours is what is under test, with the images that `make images` wrote. Their version is the commit's.
var ours = release{images: "../../dist/images", files: "../../manifests/"}

// another starts to make another version of the same source, and returns how to wait for it. Only the linker has
// work to do.
func another(t *testing.T, tag string) func(*testing.T) release {
	t.Helper()
	dir, made := t.TempDir(), make(chan error, 1)
	go func() {
		err := goRun("./manifests/gen", "--tag", tag, "--out", dir)
		if err == nil {
			_, err = commandLine() // it is asked of the upgrade
		}
		if err == nil {
			err = goRun("./manifests/images", "--tag", tag, "--version", tag, "--out", dir)
		}
		made <- err
	}()
	return func(t *testing.T) release {
		t.Helper()
		if err := <-made; err != nil {
			t.Fatal(err)
		}
		return release{tag, tag, dir, dir}
	}
}

func goRun(args ...string) error {
	cmd := exec.Command("nice", append([]string{"go", "run"}, args...)...)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go run %v: %w\n%s", args, err, out)
	}
	return nil
}

// load gives its images to the nodes.
func (r release) load(ctx context.Context) error {
	images, err := filepath.Glob(filepath.Join(r.images, "*.tar"))
	if err != nil || len(images) == 0 {
		return fmt.Errorf("no images in %s: make images (%w)", r.images, err)
	}
	for _, f := range images {
		if err := c.Import(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// apply does what a user does to install it, and to upgrade to it.
func (r release) apply(ctx context.Context) error {
	_, err := c.Kubectl(ctx, "apply", "--server-side", "-f", r.files)
	return err
}

// installed is the version that the controller was applied with.
func installed(t *testing.T) string {
	t.Helper()
	return kubectl(t, "-n", "ambit-system", "get", "deployment", "ambit-controller", "-o", `jsonpath={.metadata.labels.app\.kubernetes\.io/version}`)
}

// withoutImage is ambit.yaml with an image of the agent that is nowhere.
func withoutImage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../manifests/ambit.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const agent = "image: ambit.dev/ambit-agent:"
	missing := strings.Replace(string(text), agent, agent+"missing-", 1)
	if missing == string(text) {
		t.Fatal("no image of the agent in ambit.yaml")
	}
	file := filepath.Join(t.TempDir(), "ambit.yaml")
	if err := os.WriteFile(file, []byte(missing), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
