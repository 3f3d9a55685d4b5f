// Package bpf finds what the kernel holds of a cluster's BPF: links to its cgroups and network namespaces, and
// their programs. It asks the kernel itself, by system calls, since pins are hidden in nodes' mounts.
package bpf

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"
)

// Commands and types of the kernel's include/uapi/linux/bpf.h.
const (
	progNextID, infoByFD, linkByID, linkNextID = 11, 15, 30, 31

	typeCgroup, typeNetns = 3, 5
)

// Attached are ids, which the kernel does not give again soon.
type Attached struct{ Links, Programs []uint32 }

// Find returns the links to these cgroups, by directory, and namespaces, as net:[inode].
func Find(cgroups []string, namespaces map[string]bool) (a Attached, err error) {
	inodes := map[uint64]bool{}
	for _, dir := range cgroups {
		if st, err := os.Stat(dir); err == nil {
			inodes[st.Sys().(*syscall.Stat_t).Ino] = true
		}
	}
	all, err := ids(linkNextID)
	if err != nil {
		return a, err
	}
	for _, id := range all {
		l, err := linkOf(id)
		if err != nil { // it is gone
			continue
		}
		if l.kind == typeCgroup && inodes[l.target] || l.kind == typeNetns && namespaces[fmt.Sprintf("net:[%d]", uint32(l.target))] {
			a.Links, a.Programs = append(a.Links, id), append(a.Programs, l.program)
		}
	}
	return a, nil
}

// Left names those that are still there.
func (a Attached) Left() (all []string) {
	for _, x := range []struct {
		what string
		next uintptr
		ids  []uint32
	}{{"BPF link", linkNextID, a.Links}, {"BPF program", progNextID, a.Programs}} {
		now, err := ids(x.next)
		if err != nil {
			all = append(all, err.Error())
		}
		for _, id := range now {
			if slices.Contains(x.ids, id) {
				all = append(all, fmt.Sprintf("%s %d", x.what, id))
			}
		}
	}
	return all
}

type link struct {
	kind, program uint32
	target        uint64 // cgroup's id, or network namespace's inode
}

func linkOf(id uint32) (l link, err error) {
	var attr [128]byte
	binary.NativeEndian.PutUint32(attr[:], id)
	fd, err := call(linkByID, &attr)
	if err != nil {
		return l, err
	}
	defer syscall.Close(int(fd))
	info := new([128]byte)
	attr = [128]byte{}
	binary.NativeEndian.PutUint32(attr[0:], uint32(fd))
	binary.NativeEndian.PutUint32(attr[4:], uint32(len(info)))
	binary.NativeEndian.PutUint64(attr[8:], uint64(uintptr(unsafe.Pointer(info))))
	_, err = call(infoByFD, &attr)
	runtime.KeepAlive(info)
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(info[at:]) }
	l = link{kind: u32(0), program: u32(8), target: binary.NativeEndian.Uint64(info[16:])}
	if l.kind == typeNetns {
		l.target = uint64(u32(16))
	}
	return l, err
}

// ids are all of a kind that the kernel has.
func ids(next uintptr) (all []uint32, err error) {
	for id := uint32(0); ; {
		var attr [128]byte
		binary.NativeEndian.PutUint32(attr[0:], id)
		if _, err := call(next, &attr); err == syscall.ENOENT {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("list BPF objects (%d): %w", next, err)
		}
		id = binary.NativeEndian.Uint32(attr[4:])
		all = append(all, id)
	}
}

func call(command uintptr, attr *[128]byte) (uintptr, error) {
	number := map[string]uintptr{"amd64": 321, "arm64": 280}[runtime.GOARCH]
	r, _, e := syscall.Syscall(number, command, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if e != 0 {
		return 0, e
	}
	return r, nil
}
