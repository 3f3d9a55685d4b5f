package kernels

import (
	"bytes"
	"fmt"
	"path"
	"slices"
)

// archive is an initramfs in the making: a cpio archive ("newc").
type archive struct {
	b    bytes.Buffer
	dirs []string
	n    int
}

const (
	modeDir  = 0o040755
	modeFile = 0o100755
)

// add puts a file in, and the directories above it.
func (a *archive) add(name string, content []byte) {
	var above []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		above = append(above, dir)
	}
	for _, dir := range slices.Backward(above) {
		if !slices.Contains(a.dirs, dir) {
			a.dirs = append(a.dirs, dir)
			a.entry(dir, modeDir, nil)
		}
	}
	a.entry(name, modeFile, content)
}

func (a *archive) entry(name string, mode int, content []byte) {
	a.n++
	// magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
	fmt.Fprintf(&a.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.n, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	a.b.Write(content)
	a.pad()
}

func (a *archive) pad() {
	for a.b.Len()%4 != 0 {
		a.b.WriteByte(0)
	}
}

// bytes ends the archive.
func (a *archive) bytes() []byte {
	a.entry("TRAILER!!!", 0, nil)
	return a.b.Bytes()
}
