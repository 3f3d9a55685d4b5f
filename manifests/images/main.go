// Command images writes the container images that the manifests name as OCI archives, without a
// container engine: static programs on nothing. The same commit gives the same digests.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"

	"github.com/ambitmesh/ambit/manifests/images/oci"
	"github.com/ambitmesh/ambit/manifests/kustomize"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests/images:", err)
		os.Exit(1)
	}
}

// recipes say what each image holds; the first program is what it runs.
var recipes = map[string]struct {
	programs []string
	user     string
}{
	"ambit-agent":      {programs: []string{"ambit-agent", "ambit-cni"}},
	"ambit-ztunnel":    {programs: []string{"ambit-ztunnel"}},
	"ambit-controller": {programs: []string{"ambit-controller"}, user: "65532:65532"},
}

// options are the command line.
type options struct {
	base, out, tag, version, arch string
}

func run(ctx context.Context, args []string) error {
	var o options
	f := flag.NewFlagSet("images", flag.ContinueOnError)
	f.StringVar(&o.base, "base", "manifests/base", "kustomize base that names the images")
	f.StringVar(&o.out, "out", "dist/images", "directory to write to")
	f.StringVar(&o.tag, "tag", "", "tag of the images (default: the base's)")
	f.StringVar(&o.version, "version", os.Getenv("VERSION"), "version that the programs tell (default: $VERSION, else the tag)")
	f.StringVar(&o.arch, "arch", runtime.GOARCH, "architecture, as GOARCH")
	if err := f.Parse(args); err != nil {
		return err
	}
	base, err := kustomize.Read(o.base)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make directory for images: %w", err)
	}
	for _, i := range base.Images {
		if err := o.write(ctx, i); err != nil {
			return fmt.Errorf("image %s: %w", i.Name, err)
		}
	}
	return nil
}

func (o options) write(ctx context.Context, i kustomize.Image) error {
	name := path.Base(i.Name)
	image, err := o.image(ctx, name, i.Tagged(o.tag))
	if err != nil {
		return err
	}
	archive, digest, err := image.Archive()
	if err != nil {
		return err
	}
	file := filepath.Join(o.out, name+".tar")
	if err := os.WriteFile(file, archive, 0o644); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	fmt.Fprintf(os.Stdout, "%s %s %s %d bytes\n", file, image.Name, digest, len(archive))
	return nil
}

func (o options) image(ctx context.Context, name, reference string) (oci.Image, error) {
	r, ok := recipes[name]
	if !ok {
		return oci.Image{}, fmt.Errorf("no recipe for %s", name)
	}
	version := o.version
	if version == "" {
		version = path.Base(reference)[len(name)+1:]
	}
	image := oci.Image{Name: reference, Arch: o.arch, User: r.user, Entrypoint: []string{"/" + r.programs[0]}, Labels: map[string]string{
		"org.opencontainers.image.title":    name,
		"org.opencontainers.image.version":  version,
		"org.opencontainers.image.source":   "https://github.com/ambitmesh/ambit",
		"org.opencontainers.image.licenses": "Apache-2.0",
	}}
	for _, p := range r.programs {
		data, err := build(ctx, p, o.arch, version)
		if err != nil {
			return oci.Image{}, err
		}
		image.Files = append(image.Files, oci.File{Path: "/" + p, Mode: 0o755, Data: data})
	}
	return image, nil
}
