package resident

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestImageSpans(t *testing.T) {
	const maps = `00400000-00500000 r-xp 00000000 08:01 7 /usr/bin/a program
00500000-00600000 r--p 00100000 08:01 7 /usr/bin/a program
00600000-00700000 rw-p 00200000 08:01 7 /usr/bin/a program
c000000000-c000400000 rw-p 00000000 00:00 0
7f0000000000-7f0000001000 r-xp 00000000 08:01 8 /usr/lib/other.so
`
	got, err := imageSpans(strings.NewReader(maps), "/usr/bin/a program")
	if want := []span{{0x400000, 0x500000}, {0x500000, 0x600000}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := imageSpans(strings.NewReader("zz-1 r-xp 0 08:01 7 /a\n"), "/a"); err == nil {
		t.Error("a mapping that cannot be read is no error")
	}
}

func TestDropImage(t *testing.T) {
	exe, err := os.ReadFile("/proc/self/exe") // so that all of it is in the page cache
	if err != nil {
		t.Fatal(err)
	}
	touched := 0
	for i := range exe {
		touched += int(exe[i])
	}
	before := fileKiB(t)
	if err := DropImage(); err != nil {
		t.Fatal(err)
	}
	after := fileKiB(t)
	if after >= before {
		t.Errorf("file pages: %d KiB before, %d after", before, after)
	}
	t.Logf("file pages: %d KiB before, %d after (%d)", before, after, touched%2)
}

// fileKiB is this process' resident memory that has a file behind it.
func fileKiB(t *testing.T) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(b, []byte("RssFile:"))
	if _, err := fmt.Sscan(string(rest), &n); err != nil {
		t.Fatal(err)
	}
	return n
}
