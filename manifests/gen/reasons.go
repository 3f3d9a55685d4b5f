package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	capability = regexp.MustCompile(`^\s*- ([A-Z][A-Z_]+)\s*(#.*)?$`)
	privilege  = regexp.MustCompile(`^\s*(hostNetwork: true|hostPID: true|hostIPC: true|type: Unconfined|allowPrivilegeEscalation: true|privileged: true|runAsUser: 0\b)`)
	volume     = regexp.MustCompile(`(?m)^ *- name: (\S+)\n +hostPath:`)
)

// checkReasons wants a reason beside each capability, and above each other privilege and host path.
func checkReasons(text string) error {
	var errs []error
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if m := capability.FindStringSubmatch(line); m != nil && len(m[2]) < len("# why") {
			errs = append(errs, fmt.Errorf("line %d: capability %s has no reason beside it", i+1, m[1]))
		}
		if privilege.MatchString(line) && !explained(lines, i) {
			errs = append(errs, fmt.Errorf("line %d: %s has no reason above it", i+1, strings.TrimSpace(line)))
		}
	}
	for _, at := range volume.FindAllStringIndex(text, -1) {
		if i := strings.Count(text[:at[0]], "\n"); !explained(lines, i) {
			errs = append(errs, fmt.Errorf("line %d: host path of volume %s has no reason above it", i+1, strings.TrimSpace(lines[i])))
		}
	}
	return errors.Join(errs...)
}

// explained says whether the line above, or the one above the field's parent, is a comment.
func explained(lines []string, i int) bool {
	for _, at := range []int{i - 1, i - 2} {
		if at >= 0 && strings.HasPrefix(strings.TrimSpace(lines[at]), "# ") {
			return true
		}
	}
	return false
}
