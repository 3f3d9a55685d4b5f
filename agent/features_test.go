package agent

import (
	"errors"
	"os"
	"strings"
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
		if f.Required && !f.OK {
			t.Errorf("%s is missing here, where the other tests pass: %s", f.Name, f.Detail)
		}
	}
}

func TestMissingFeaturesHaveWords(t *testing.T) {
	all := []Feature{
		tried("sk_lookup", true, errors.New("not supported"), "loads", "needs kernel 5.9"),
		tried("IPv6", false, errors.New("not supported"), "there", "IPv6 of pods is not captured"),
		tried("sockops", true, nil, "loads", ""),
		cgroup2("/nowhere"),
	}
	err := Missing(all)
	if err == nil {
		t.Fatal("nothing is missing")
	}
	for _, want := range []string{"missing sk_lookup: needs kernel 5.9 (not supported)", "missing cgroup2", `"/nowhere"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	for _, no := range []string{"IPv6", "sockops"} {
		if strings.Contains(err.Error(), no) {
			t.Errorf("%q is in %q", no, err)
		}
	}
}
