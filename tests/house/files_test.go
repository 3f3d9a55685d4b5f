package house

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 && !strings.Contains(p.ImportPath, "/meshpb/") {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

const maxLines = 600

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func TestFilesStayReadable(t *testing.T) {
	for _, f := range tracked(t, "*.go", "bpf/*.[ch]") {
		b := read(t, f)
		if n := bytes.Count(b, []byte("\n")); n > maxLines && !strings.HasPrefix(f, "bpf/headers/") && !generated.Match(b) && !strings.HasSuffix(f, "_test.go") {
			t.Errorf("%s has %d lines; at most %d", f, n, maxLines)
		}
	}
}

// private are things of the machine that a file was written on, not of the project. The patterns are
// written so that they do not match themselves.
var private = regexp.MustCompile(`(^|[\s"'=(:])/(work|farm|home)/[a-z]`)

func TestTreeNamesNoMachine(t *testing.T) {
	for _, f := range tracked(t) {
		if !text(f) || strings.HasPrefix(f, "tests/house/") {
			continue
		}
		for i, line := range strings.Split(string(read(t, f)), "\n") {
			if private.MatchString(line) {
				t.Errorf("%s:%d: names a place on somebody's machine: %s", f, i+1, strings.TrimSpace(line))
			}
		}
	}
}

func text(f string) bool {
	switch filepath.Ext(f) {
	case ".o", ".png", ".sum":
		return false
	}
	return !strings.Contains(f, "testdata/fuzz/")
}

func tracked(t *testing.T, patterns ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"ls-files", "-z", "--"}, patterns...)...)
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("not a git work tree: %v", err)
	}
	var files []string
	for f := range strings.SplitSeq(string(out), "\x00") {
		if f != "" {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		t.Fatalf("git tracks no %v", patterns)
	}
	return files
}

func read(t *testing.T, f string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), f))
	if os.IsNotExist(err) { // deleted, not committed yet
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}
