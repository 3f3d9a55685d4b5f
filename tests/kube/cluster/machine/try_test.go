package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func TestTry(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("machines need root")
	}
	dir, err := os.MkdirTemp("/var/tmp", "ambit-try-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := Try(dir); err != nil {
		t.Errorf("this machine holds clusters, and a try of it fails: %v", err)
	}
	// A host that lacks something is told apart, and by what it lacks.
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Try(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("overlay on a file: %v", err)
	}
}
