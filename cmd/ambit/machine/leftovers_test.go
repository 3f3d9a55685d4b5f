package machine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The rules in namespaces are looked for on the real machine; another mesh may run there, so only the
// files are compared.
func TestLeftoversAreFilesAndConfigurations(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("other processes' namespaces are root's")
	}
	dir := t.TempDir()
	p := Places{Pins: filepath.Join(dir, "pins"), Runs: []string{filepath.Join(dir, "run")}, CNIBin: filepath.Join(dir, "bin"), CNIConf: filepath.Join(dir, "conf")}
	if got := filesOf(t, p, dir); len(got) != 0 {
		t.Errorf("nothing is there, found %v", got)
	}
	for file, text := range map[string]string{
		"pins/default/link": "", "run/zds/zds.sock": "", "bin/ambit-cni": "", "bin/bridge": "",
		"conf/10-x.conflist": `{"plugins":[{"type":"bridge"},{"type":"ambit-cni"}]}`, "conf/20-y.conf": `{"type":"bridge"}`,
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"bin/ambit-cni", "conf/10-x.conflist names ambit-cni", "pins/default/link", "run/zds/zds.sock"}
	if got := filesOf(t, p, dir); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func filesOf(t *testing.T, p Places, dir string) (out []string) {
	t.Helper()
	all, err := p.Leftovers()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		if rel, err := filepath.Rel(dir, x); err == nil && filepath.IsLocal(rel) {
			out = append(out, rel)
		}
	}
	slices.Sort(out)
	return out
}
