package xds

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Versions is the highest generation per kind of the objects that a state was made from.
type Versions map[string]uint64

// maxVersions bounds what a proxy may send back, in bytes and in kinds.
const (
	maxVersions = 4096
	maxKinds    = 64
)

// ErrBadVersions is wrapped by ParseVersions.
var ErrBadVersions = errors.New("not a list of kind=generation")

// String returns "kind=generation,..." in the order of kinds, as system_version_info carries it.
func (v Versions) String() string {
	parts := make([]string, 0, len(v))
	for _, k := range slices.Sorted(maps.Keys(v)) {
		parts = append(parts, k+"="+strconv.FormatUint(v[k], 10))
	}
	return strings.Join(parts, ",")
}

// ParseVersions is the inverse of String; "" is no version at all.
func ParseVersions(s string) (Versions, error) {
	v := Versions{}
	if s == "" {
		return v, nil
	}
	if len(s) > maxVersions {
		return nil, fmt.Errorf("parse versions of %d bytes: %w", len(s), ErrBadVersions)
	}
	for part := range strings.SplitSeq(s, ",") {
		kind, number, ok := strings.Cut(part, "=")
		g, err := strconv.ParseUint(number, 10, 64)
		if _, twice := v[kind]; !ok || kind == "" || err != nil || twice || len(v) == maxKinds {
			return nil, fmt.Errorf("parse versions: %q: %w", part, ErrBadVersions)
		}
		v[kind] = g
	}
	return v, nil
}

// Behind reports whether a proxy that has seen the other versions would be taken back in time by this
// state. A kind that only the other knows is passed over: it belongs to another release.
func (v Versions) Behind(seen Versions) bool {
	for k, g := range seen {
		if have, ok := v[k]; ok && have < g {
			return true
		}
	}
	return false
}
