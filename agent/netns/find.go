package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Find opens a namespace by inode and cookie, through a process in it or a mount of its file. It
// returns nil if there is none: then nothing is left in it either.
func Find(inode, cookie uint64) *NS {
	candidates, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		candidates = nil // cannot be: the pattern is good
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil {
		candidates = append(mounted(string(b), inode), candidates...)
	}
	for _, path := range candidates {
		if ino, err := InodeAt(path); err != nil || ino != inode {
			continue
		}
		ns, err := Open(path)
		if err != nil {
			continue
		}
		if ns.Cookie == cookie {
			return ns
		}
		ns.Close()
	}
	return nil
}

// mounted lists where a namespace's file is mounted.
func mounted(mountinfo string, inode uint64) []string {
	var out []string
	root := fmt.Sprintf("net:[%d]", inode)
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 4 && f[3] == root {
			out = append(out, f[4])
		}
	}
	return out
}
