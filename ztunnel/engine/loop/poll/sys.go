package poll

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These are raw: none of them blocks on a non-blocking descriptor, so the scheduler need not know.
// They return a unix.Errno as the error, and try again when a signal came between.

// Read reads into b, which is not empty.
func Read(fd int, b []byte) (int, unix.Errno) {
	for {
		n, _, e := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if e != unix.EINTR {
			return count(n, e)
		}
	}
}

// Write writes b, which is not empty.
func Write(fd int, b []byte) (int, unix.Errno) {
	for {
		n, _, e := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if e != unix.EINTR {
			return count(n, e)
		}
	}
}

// Readv reads into v, which is not empty.
func Readv(fd int, v []unix.Iovec) (int, unix.Errno) { return vector(unix.SYS_READV, fd, v) }

// Writev writes v, which is not empty.
func Writev(fd int, v []unix.Iovec) (int, unix.Errno) { return vector(unix.SYS_WRITEV, fd, v) }

func vector(call uintptr, fd int, v []unix.Iovec) (int, unix.Errno) {
	for {
		n, _, e := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)))
		if e != unix.EINTR {
			return count(n, e)
		}
	}
}

// Splice moves up to n bytes between a pipe and a socket.
func Splice(from, to, n int) (int, unix.Errno) {
	const flags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK
	for {
		r, _, e := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), flags)
		if e != unix.EINTR {
			return count(r, e)
		}
	}
}

func count(n uintptr, e unix.Errno) (int, unix.Errno) {
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// wait takes the events that there are. 0 says that there are none.
func wait(ep int, events []unix.EpollEvent) int {
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}
