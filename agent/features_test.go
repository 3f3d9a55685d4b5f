package agent

import (
	"os"
	"testing"
)

func TestKernelVersions(t *testing.T) {
	for release, ok := range map[string]bool{
		"6.1.0-42-cloud": true, "6.18.44": true, "7.0": true, "5.15.0": false, "6.0.9": false, "": false, "x": false,
	} {
		if newEnough(release) != ok {
			t.Errorf("kernel %q: want %v", release, ok)
		}
	}
}

func TestFeaturesOfThisMachine(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: tries BPF programs")
	}
	for _, f := range Features("", t.TempDir()) {
		t.Logf("%-40s %v %s", f.Name, f.OK, f.Detail)
		if f.Detail == "" {
			t.Errorf("%s: no detail", f.Name)
		}
	}
}
