package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ambitmesh/ambit/manifests/kustomize"
)

func TestEveryImageHasARecipe(t *testing.T) {
	base, err := kustomize.Read("../base")
	if err != nil {
		t.Fatal(err)
	}
	if len(base.Images) != len(recipes) {
		t.Errorf("%d images, %d recipes", len(base.Images), len(recipes))
	}
	for _, i := range base.Images {
		if _, ok := recipes[filepath.Base(i.Name)]; !ok {
			t.Errorf("no recipe for %s", i.Name)
		}
	}
	for name, r := range recipes {
		for _, p := range r.programs {
			if _, err := os.Stat("../../cmd/" + p + "/main.go"); err != nil {
				t.Errorf("image %s: %v", name, err)
			}
		}
	}
}

// Every image is built twice, in two copies of the tree, with this machine's cache and from nothing, and must be the
// same to the byte.
func TestReproducible(t *testing.T) {
	if os.Getenv("AMBIT_FULL") == "" {
		t.Skip("builds every program from nothing, minutes: AMBIT_FULL=1")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	first := map[string][]byte{}
	for i := range 2 {
		tree := t.TempDir()
		t.Chdir(root)
		copyTree(t, root, tree)
		t.Chdir(tree)
		if i > 0 {
			t.Setenv("GOCACHE", t.TempDir())
		}
		for name := range recipes {
			image, err := options{arch: "amd64"}.image(t.Context(), name, "ambit.dev/"+name+":v1")
			if err != nil {
				t.Fatal(err)
			}
			b, digest, err := image.Archive()
			if err != nil {
				t.Fatal(err)
			}
			if before, ok := first[name]; ok && !bytes.Equal(b, before) {
				t.Errorf("%s built again: another image, %s", name, digest)
			}
			first[name] = b
		}
	}
}

// copyTree copies what git tracks.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `git ls-files -z | tar --null --ignore-failed-read -T - -cf - | tar -xf - -C "$1"`, "sh", to)
	cmd.Dir = from
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("not a git work tree: %v\n%s", err, out)
	}
}
