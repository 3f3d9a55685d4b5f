// Package version says which build a program is.
package version

import (
	"cmp"
	"runtime/debug"
)

// linked is set by the linker: -X github.com/ambitmesh/ambit/internal/version.linked=v1.2.3.
var linked string

// String is the version that the build was given, else what the toolchain noted of its source.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(linked, "unknown")
	}
	return of(linked, info)
}

func of(linked string, info *debug.BuildInfo) string {
	if linked != "" {
		return linked
	}
	module := cmp.Or(info.Main.Version, "(devel)")
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return module + " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return module
}
