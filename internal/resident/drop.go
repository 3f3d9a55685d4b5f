package resident

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// span is a mapping of this process, as /proc/self/maps lists it.
type span struct{ from, to uintptr }

// DropImage lets go of the pages of the program's own file: the kernel maps them around each fault, so after
// start nearly all of the file is resident, most of it used by initialisation alone. What runs comes back
// from the page cache at its next use. Pages that were written (private data) are not touched.
func DropImage() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read own mappings: %w", err)
	}
	defer maps.Close()
	all, err := imageSpans(maps, exe)
	if err != nil {
		return fmt.Errorf("read own mappings: %w", err)
	}
	for _, s := range all {
		if err := drop(s); err != nil {
			return fmt.Errorf("drop pages of own program: %w", err)
		}
	}
	return nil
}

// imageSpans returns the mappings of a file that cannot be written.
func imageSpans(maps io.Reader, file string) (all []span, err error) {
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 6 || strings.Join(f[5:], " ") != file || strings.Contains(f[1], "w") {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		a, errA := strconv.ParseUint(from, 16, 64)
		b, errB := strconv.ParseUint(to, 16, 64)
		if errA != nil || errB != nil || b <= a {
			return nil, fmt.Errorf("mapping %q", lines.Text())
		}
		all = append(all, span{uintptr(a), uintptr(b)})
	}
	return all, lines.Err()
}

func drop(s span) error {
	_, _, e := unix.Syscall(unix.SYS_MADVISE, s.from, s.to-s.from, unix.MADV_DONTNEED)
	if e != 0 {
		return e
	}
	return nil
}
