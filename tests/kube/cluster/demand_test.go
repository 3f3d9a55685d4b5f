package cluster

import (
	"errors"
	"strings"
	"testing"
)

func TestWithout(t *testing.T) {
	for set, want := range map[string]int{"": 0, "CI=true": 1, "CI=1": 1, "AMBIT_FULL=1": 1, "CI=": 0, "CI=false": 0, "OTHER=1": 0} {
		name, value, _ := strings.Cut(set, "=")
		code, says := Without(errors.New("no root"), func(n string) string {
			if n == name {
				return value
			}
			return ""
		})
		if code != want || !strings.Contains(says, "no root") {
			t.Errorf("%q: %d, %q", set, code, says)
		}
	}
}
