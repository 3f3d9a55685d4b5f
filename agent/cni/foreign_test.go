package cni

import (
	"errors"
	"strings"
	"testing"
)

func TestForeignMesh(t *testing.T) {
	h := newHost(t)
	h.write(h.conf("05-bad.conflist"), "{", 0o644)
	h.write(h.conf("10-lab.conflist"), lab, 0o644)
	if err := Foreign(h.ConfDir); err != nil {
		t.Error(err)
	}
	istio := strings.Replace(lab, `{"type": "portmap"`, `{"type": "istio-cni", "ambient_enabled": AMBIENT}, {"type": "portmap"`, 1)
	h.write(h.conf("10-lab.conflist"), strings.Replace(istio, "AMBIENT", "false", 1), 0o644)
	if err := Foreign(h.ConfDir); err != nil {
		t.Errorf("sidecars disturb: %v", err)
	}
	h.write(h.conf("10-lab.conflist"), strings.Replace(istio, "AMBIENT", "true", 1), 0o644)
	if err := Foreign(h.ConfDir); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "10-lab.conflist") {
		t.Errorf("ambient mode: %v", err)
	}
	if err := Foreign(h.conf("missing")); err == nil {
		t.Error("a directory that is not there")
	}
}
