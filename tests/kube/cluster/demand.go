package cluster

import "fmt"

// Without is what a run of the tests ends with that cannot have a cluster, and what it says: by hand it is
// skipped; a run that is to prove something (CI, or the long version) fails, since it proved nothing.
func Without(why error, getenv func(string) string) (code int, says string) {
	for _, name := range []string{"CI", "AMBIT_FULL"} {
		if v := getenv(name); v != "" && v != "false" && v != "0" {
			return 1, fmt.Sprintf("FAIL: no test in a cluster ran, and %s is set: %v", name, why)
		}
	}
	return 0, fmt.Sprintf("SKIP: tests in a cluster are skipped: %v", why)
}
