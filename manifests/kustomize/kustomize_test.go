package kustomize

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadTheBase(t *testing.T) {
	b, err := Read("../base")
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Labels) != 1 || len(b.Labels[0].Pairs) != 1 {
		t.Errorf("labels %v: the generator knows of the version alone", b.Labels)
	}
	if len(b.Images) != 3 {
		t.Errorf("images %v", b.Images)
	}
	for _, i := range b.Images {
		if i.NewTag == "" || i.NewTag != b.Version() {
			t.Errorf("image %s has tag %q, the version is %q", i.Name, i.NewTag, b.Version())
		}
		if i.Tagged("x") != i.Name+":x" || i.Tagged("") != i.Name+":"+i.NewTag {
			t.Errorf("tagged: %s, %s", i.Tagged("x"), i.Tagged(""))
		}
	}
	listed := map[string]bool{"kustomization.yaml": true}
	for _, r := range b.Resources {
		listed[r] = true
	}
	files, err := filepath.Glob("../base/*.yaml")
	if err != nil || len(files) != len(listed) {
		t.Errorf("%d files, %d listed, error %v", len(files), len(listed), err)
	}
}

func TestWhatIsNotKnownIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); err == nil {
		t.Error("an empty directory is no error")
	}
	text := "kind: Kustomization\nnamePrefix: x-\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(dir); err == nil {
		t.Errorf("namePrefix was read as %+v", b)
	}
}
