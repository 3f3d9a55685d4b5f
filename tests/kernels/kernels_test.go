package kernels

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// lines are the kernels to try: the floor, and the one that Debian's stable users run.
var lines = []string{"6.1", "6.12"}

// cache is where unpacked packages stay.
const cache = "../../dist/kernels"

func TestKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines: takes minutes")
	}
	ctx := t.Context()
	if err := haveQemu(ctx); err != nil {
		t.Skip(err)
	}
	files, err := build(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		t.Run(line, func(t *testing.T) { try(t, line, files) })
	}
}

func try(t *testing.T, line string, files map[string][]byte) {
	k, err := fetch(t.Context(), cache, line)
	if errors.Is(err, errNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	modules, err := needed(t.Context(), k.modules, "veth", "inet_diag", "tcp_diag")
	if err != nil {
		t.Fatal(err)
	}
	ramfs := filepath.Join(t.TempDir(), "initramfs.gz")
	if err := initramfs(ramfs, files, modules); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	var console bytes.Buffer
	begin := time.Now()
	if err := boot(ctx, k.image, ramfs, io.MultiWriter(&console, progress{t})); err != nil {
		t.Error(err)
	}
	judge(t, strings.ReplaceAll(console.String(), "\r", ""), time.Since(begin))
}

var (
	booted  = regexp.MustCompile(`(?m)^.*BOOTED (.*)$`)
	results = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): (\S+)`)
	trouble = regexp.MustCompile(`(?m)^.*(WARNING:|BUG:|Oops|rcu.*stall|Kernel panic).*$`)
)

// judge reads a console. A test that was skipped has not been tried: that is a failure here.
func judge(t *testing.T, console string, took time.Duration) {
	t.Helper()
	count := map[string]int{}
	for _, m := range results.FindAllStringSubmatch(console, -1) {
		count[m[1]]++
		if m[1] != "PASS" {
			t.Errorf("%s: %s", m[1], m[2])
		}
	}
	if m := booted.FindStringSubmatch(console); m != nil {
		t.Logf("kernel %s: %d passed, %d failed, %d skipped in %s", m[1], count["PASS"], count["FAIL"], count["SKIP"], took.Round(time.Second))
	}
	for _, line := range trouble.FindAllString(console, -1) {
		t.Errorf("the kernel complains: %s", line)
	}
	if !strings.Contains(console, "\nEXIT 0\n") || count["PASS"] == 0 {
		t.Errorf("the machine did not come to a good end; its console:\n%s", console)
	}
}

// progress shows on standard error that something goes on.
type progress struct{ t *testing.T }

func (p progress) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if s := string(line); strings.Contains(s, "BOOTED") || strings.Contains(s, "--- ") && !strings.HasPrefix(s, " ") {
			os.Stderr.WriteString(p.t.Name() + ": " + strings.TrimSpace(s) + "\n")
		}
	}
	return len(b), nil
}

func TestCPIO(t *testing.T) {
	var a archive
	a.add("a/b/file", []byte("hello"))
	a.add("a/b/other", nil)
	got := a.bytes()
	if len(got)%4 != 0 {
		t.Errorf("length %d is not a multiple of four", len(got))
	}
	for _, want := range []string{"a\x00", "a/b\x00", "a/b/file\x00", "hello", "a/b/other\x00", "TRAILER!!!\x00"} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("no %q in the archive", want)
		}
	}
	if n := bytes.Count(got, []byte("070701")); n != 5 {
		t.Errorf("%d entries, want 5", n)
	}
}

func TestNewestByNumber(t *testing.T) {
	if a, b := numbers("linux-image-6.1.0-9-cloud-amd64"), numbers("linux-image-6.1.0-56-cloud-amd64"); a[3] != 9 || b[3] != 56 {
		t.Errorf("got %v and %v", a, b)
	}
}
