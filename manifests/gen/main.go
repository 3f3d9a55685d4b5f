// Command gen writes what users apply: manifests/ambit.yaml from manifests/base, after checking it, and
// manifests/crds.yaml from the modules of Gateway API and Istio.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests/gen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("gen", flag.ContinueOnError)
	base := f.String("base", "manifests/base", "kustomize base")
	out := f.String("out", "manifests", "directory to write to")
	tag := f.String("tag", "", "tag of the images (default: the base's)")
	if err := f.Parse(args); err != nil {
		return err
	}
	ambit, err := ambitYAML(*base, *tag)
	if err != nil {
		return err
	}
	crds, err := crdsYAML(ctx)
	if err != nil {
		return err
	}
	return errors.Join(write(*out, "ambit.yaml", ambit), write(*out, "crds.yaml", crds))
}

func write(dir, name, text string) error {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}
