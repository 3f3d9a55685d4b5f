package poll

import (
	"os"

	"golang.org/x/sys/unix"
)

// Events says what a descriptor is ready for.
type Events uint32

const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET

// Readable reports whether a read will tell something: data, the end, or an error.
func (e Events) Readable() bool {
	return e&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
}

// Writable reports whether a write will tell something.
func (e Events) Writable() bool { return e&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 }

// Ended reports whether nothing comes after what can be read now.
func (e Events) Ended() bool { return e&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 }

// Urgent reports whether there is urgent data: a read stops at its mark, so a short one does not say that
// there is no more.
func (e Events) Urgent() bool { return e&unix.EPOLLPRI != 0 }

// Failed reports whether the descriptor has an error to tell.
func (e Events) Failed() bool { return e&unix.EPOLLERR != 0 }

// Add has h told of fd's events, beginning with what it is ready for now.
func (l *Loop) Add(fd int, h Handler) error {
	for len(l.slots) <= fd {
		l.slots = append(l.slots, slot{})
	}
	s := &l.slots[fd]
	s.gen++
	s.h = h
	ev := unix.EpollEvent{Events: interest, Fd: int32(fd), Pad: s.gen}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		s.h = nil
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

// Forget ends the events of fd, which the caller closes next. If others hold the same socket (shared),
// closing alone would not take it out of the kernel's set. One that was never added is none to it.
func (l *Loop) Forget(fd int, shared bool) {
	if fd >= len(l.slots) {
		return
	}
	l.slots[fd].h = nil
	if shared {
		_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// Hand has another handler told of fd's events from now on.
func (l *Loop) Hand(fd int, h Handler) { l.slots[fd].h = h }
