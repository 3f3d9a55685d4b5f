package netns

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keysStay looks for a proxy's keys where they must not be: a core file, the dump, the run directory, the logs.
func (s *shop) keysStay(t *testing.T) {
	for _, n := range []string{"node-a", "node-b"} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.Node(n).Ztunnel().PID()))
		must(t, err)
		_, core, _ := strings.Cut(string(limits), "Max core file size")
		if f := strings.Fields(core); len(f) < 2 || f[0] != "0" || f[1] != "0" {
			t.Errorf("the proxy of %s may write core files: %s", n, limits)
		}
		dump, err := s.Node(n).GetZtunnel(ctx(t), "/config_dump")
		must(t, err)
		onlyCertificates(t, dump)
		noKeyIn(t, s.Node(n).RunDir())
	}
	noKeyIn(t, filepath.Join(s.Dir(), "logs"))
}

// onlyCertificates checks that a dump tells of each identity what is public, and nothing else.
func onlyCertificates(t *testing.T, dump []byte) {
	t.Helper()
	type certificate struct {
		PEM, SerialNumber, ValidFrom, ExpirationTime string
	}
	var all struct{ Certificates json.RawMessage }
	must(t, json.Unmarshal(dump, &all))
	var identities []struct {
		Identity, State      string
		CertChain, RootCerts []certificate
	}
	d := json.NewDecoder(bytes.NewReader(all.Certificates))
	d.DisallowUnknownFields()
	must(t, d.Decode(&identities))
	if len(identities) == 0 {
		t.Error("no certificate in the dump")
	}
	for _, i := range identities {
		for _, c := range append(i.CertChain, i.RootCerts...) {
			if strings.Count(c.PEM, "-----BEGIN") != strings.Count(c.PEM, "-----BEGIN CERTIFICATE-----") {
				t.Errorf("%s: more than certificates: %s", i.Identity, c.PEM)
			}
		}
	}
}

// noKeyIn reads all files below a directory.
func noKeyIn(t *testing.T, dir string) {
	t.Helper()
	read := 0
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("PRIVATE KEY")) || bytes.Contains(b, []byte("TRAFFIC_SECRET")) {
			t.Errorf("a key in %s", path)
		}
		read++
		return err
	}))
	if read == 0 {
		t.Errorf("no file in %s", dir)
	}
}
