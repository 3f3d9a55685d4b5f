// Package kustomize reads the little of a kustomization that manifests/base uses, so that the generated
// manifests and the images need no tool but Go, and the version stands in one place.
package kustomize

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// Base is manifests/base/kustomization.yaml.
type Base struct {
	Resources []string `json:"resources"` // files beside it, in the order in which they are applied
	Images    []Image  `json:"images"`
	Labels    []Labels `json:"labels"`
}

// Labels are put onto every object, not onto pods and selectors.
type Labels struct {
	Pairs map[string]string `json:"pairs"`
}

// VersionLabel is on every object: the version that it was applied with.
const VersionLabel = "app.kubernetes.io/version"

// Version is what the label says.
func (b Base) Version() string {
	for _, l := range b.Labels {
		if v, ok := l.Pairs[VersionLabel]; ok {
			return v
		}
	}
	return ""
}

// Image is a name in the manifests and the tag that it gets.
type Image struct {
	Name   string `json:"name"`
	NewTag string `json:"newTag"`
}

// Read reads the kustomization of a directory. Fields that are not known here are refused: kustomize
// would honour them and the generated manifests would not.
func Read(dir string) (Base, error) {
	var b Base
	path := filepath.Join(dir, "kustomization.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return b, fmt.Errorf("read kustomization: %w", err)
	}
	var whole struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Base       `json:",inline"`
	}
	if err := yaml.UnmarshalStrict(text, &whole); err != nil {
		return b, fmt.Errorf("read %s: %w", path, err)
	}
	return whole.Base, nil
}

// Tagged is the reference of an image, with tag instead of its own unless tag is "".
func (i Image) Tagged(tag string) string {
	if tag == "" {
		tag = i.NewTag
	}
	return i.Name + ":" + tag
}
