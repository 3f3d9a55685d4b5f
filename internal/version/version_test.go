package version

import (
	"runtime/debug"
	"testing"
)

func TestOf(t *testing.T) {
	info := &debug.BuildInfo{}
	if got := of("", info); got != "(devel)" {
		t.Errorf("nothing known: %q", got)
	}
	info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}}
	if got := of("", info); got != "(devel) 0123456789ab" {
		t.Errorf("of a work tree: %q", got)
	}
	if got := of("v1.2.3", info); got != "v1.2.3" {
		t.Errorf("linked: %q", got)
	}
}
