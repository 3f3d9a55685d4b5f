package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
)

// ErrForeign means that another mesh captures the pods of this node.
var ErrForeign = errors.New("another mesh is on this node")

// Foreign looks for Istio's ambient mode in the node's CNI chain: two meshes would capture the same pods.
// Istio's plugin for sidecars alone does not disturb.
func Foreign(confDir string) error {
	names, err := configs(confDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		text, _, err := read(filepath.Join(confDir, name))
		if err != nil {
			continue // runtimes cannot read it either
		}
		var list struct {
			Plugins []struct {
				Type    string `json:"type"`
				Ambient bool   `json:"ambient_enabled"`
			} `json:"plugins"`
		}
		if json.Unmarshal(text, &list) != nil {
			continue
		}
		for _, p := range list.Plugins {
			if p.Type == "istio-cni" && p.Ambient {
				return fmt.Errorf("%w: %s has Istio's CNI plugin with ambient mode: uninstall it, or keep this node out of the DaemonSet ambit-agent", ErrForeign, name)
			}
		}
	}
	return nil
}
