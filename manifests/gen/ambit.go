package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/manifests/kustomize"
)

const ambitHead = `# Generated from manifests/base by ` + "`make manifests`" + `; do not edit.
# All of Ambit but the definitions of crds.yaml. Install and upgrade:
#   kubectl apply --server-side -f manifests/
# Uninstall: docs/kubernetes.md.
`

// ambitYAML joins the base's files, comments and all: the reason beside a privilege is for whoever
// applies it.
func ambitYAML(dir, tag string) (string, error) {
	base, err := kustomize.Read(dir)
	if err != nil {
		return "", err
	}
	parts := []string{ambitHead}
	var errs []error
	for _, name := range base.Resources {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("read base: %w", err)
		}
		tagged, err := tagImages(string(text), base.Images, tag)
		errs = append(errs, within(name, err), within(name, checkReasons(tagged)))
		parts = append(parts, strings.TrimSpace(labelVersion(tagged, cmp.Or(tag, base.Version())))+"\n")
	}
	all := strings.Join(parts, "---\n")
	return all, errors.Join(append(errs, check(all))...)
}

func within(file string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// An object's own labels stand less deep than those of its pods.
var partOfLine = regexp.MustCompile(`(?m)^( {2,4})app\.kubernetes\.io/part-of: ambit$`)

// labelVersion does what kustomize's labels do: every object tells by which version it was applied.
func labelVersion(text, version string) string {
	return partOfLine.ReplaceAllString(text, "$0\n${1}"+kustomize.VersionLabel+": "+version)
}

var imageLine = regexp.MustCompile(`(?m)^(\s*(?:- )?image: )(\S+)$`)

// tagImages does what kustomize's images transformer does.
func tagImages(text string, images []kustomize.Image, tag string) (string, error) {
	var errs []error
	out := imageLine.ReplaceAllStringFunc(text, func(line string) string {
		m := imageLine.FindStringSubmatch(line)
		i := slices.IndexFunc(images, func(x kustomize.Image) bool { return x.Name == m[2] })
		if i < 0 {
			errs = append(errs, fmt.Errorf("image %s is not in kustomization.yaml", m[2]))
			return line
		}
		return m[1] + images[i].Tagged(tag)
	})
	return out, errors.Join(errs...)
}
