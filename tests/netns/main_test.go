// Package netns tests the whole mesh in a lab of network namespaces: real programs, a real kernel,
// real traffic. It needs root.
//
// AMBIT_ENGINE=std|loop chooses the proxies' engine, AMBIT_SAME_NODE their --same-node, RACE=1 builds the programs with the race detector,
// AMBIT_FULL=1 runs the long version.
package netns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ambitmesh/ambit/internal/lab"
)

// binaries is the directory of the programs under test. TestMain sets it.
var binaries string

// whyNot says why no lab can run here. TestMain sets it.
var whyNot error

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("AMBIT_ZDS") != "" { // TestZDSPeerHelper needs nothing
		return m.Run()
	}
	if whyNot = lab.Unusable(); whyNot != nil {
		fmt.Println("end-to-end tests are skipped:", whyNot)
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "ambit-netns-")
	if err != nil {
		fmt.Println("make directory for binaries:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	if err := build(dir); err != nil {
		fmt.Println(err)
		return 1
	}
	return m.Run()
}

// build builds what is tested, with the race detector if RACE is set.
func build(dir string) error {
	args := []string{"build", "-buildvcs=false", "-tags", "grpcnotrace", "-o", dir + string(filepath.Separator)}
	if os.Getenv("RACE") != "" {
		args = append(args, "-race")
	}
	for _, p := range []string{"ambit", "ambit-agent", "ambit-ztunnel", "ambit-controller"} {
		args = append(args, "github.com/ambitmesh/ambit/cmd/"+p)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the programs under test: %w\n%s", err, out)
	}
	return nil
}

// full is true in the long version of the suite.
func full() bool { return os.Getenv("AMBIT_FULL") != "" }

// long is the first in the long version of the suite, else the second.
func long[T any](whole, short T) T {
	if full() {
		return whole
	}
	return short
}
