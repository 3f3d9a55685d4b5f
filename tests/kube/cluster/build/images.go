package build

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/ambitmesh/ambit/manifests/images/oci"
)

// Names of the images that every node has. They are on no registry: pull policy Never.
const (
	PauseImage   = "kube.test/pause:1"
	WorkImage    = "kube.test/work:1"
	CoreDNSImage = "kube.test/coredns:1"
)

// images writes the archives of the harness' own images. pause and work are small and are built at each
// run: the go command's cache makes that cheap.
func (c Cache) images(ctx context.Context) error {
	for _, name := range []string{"pause", "work"} {
		p := program{name: name, pkg: "./images/" + name}
		if err := goBuild(ctx, c.Root, p, filepath.Join(c.Bin(), name)); err != nil {
			return err
		}
	}
	for name, ref := range map[string]string{"pause": PauseImage, "work": WorkImage, "coredns": CoreDNSImage} {
		if err := c.image(name, ref); err != nil {
			return fmt.Errorf("image %s: %w", ref, err)
		}
	}
	return nil
}

func (c Cache) image(name, ref string) error {
	data, err := os.ReadFile(filepath.Join(c.Bin(), name))
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	users := "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"
	archive, _, err := oci.Image{Name: ref, Arch: runtime.GOARCH, Entrypoint: []string{"/" + name}, Files: []oci.File{
		{Path: "/" + name, Mode: 0o755, Data: data},
		{Path: "/etc/passwd", Mode: 0o644, Data: []byte(users)},
	}}.Archive()
	if err != nil {
		return err
	}
	out := filepath.Join(c.Images(), name+".tar")
	if have, err := os.ReadFile(out); err == nil && bytes.Equal(have, archive) {
		return nil
	}
	fresh := fmt.Sprintf("%s.%d", out, os.Getpid())
	if err := os.WriteFile(fresh, archive, 0o644); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return os.Rename(fresh, out)
}
