package loop

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

// mostMade is how many sockets are made in one visit to a namespace, at most.
const mostMade = 16

// stock is the sockets that were made in the pod's namespace and not used yet. A visit costs two system
// calls, so it makes as many as the last second has asked for; a quiet pod has none.
type stock struct {
	p *pod

	mu    sync.Mutex
	shelf [2]shelf // IPv4, IPv6
}

type shelf struct {
	fds   []int
	asked int // since the last sweep
}

// socket makes a non-blocking TCP socket in the pod's namespace, set up as a leg.
func (p *pod) socket(w *worker, family int) (int, error) {
	fd, err := p.stock.take(w, family)
	if err == nil {
		err = setUpLeg(fd)
		if err != nil {
			_ = unix.Close(fd)
		}
	}
	return fd, err
}

func (s *stock) take(w *worker, family int) (int, error) {
	if w != nil && w.Leaving() {
		return -1, netsock.ErrAstray // this thread is in another pod's namespace
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := &s.shelf[0]
	if family == unix.AF_INET6 {
		sh = &s.shelf[1]
	}
	if s.p.NetNS == nil {
		return netsock.New(family)
	}
	sh.asked++
	if len(sh.fds) == 0 {
		if err := s.fill(w, sh, family); err != nil {
			return -1, err
		}
	}
	fd := sh.fds[len(sh.fds)-1]
	sh.fds = sh.fds[:len(sh.fds)-1]
	return fd, nil
}

// fill visits the namespace. It succeeds if at least one socket was made.
func (s *stock) fill(w *worker, sh *shelf, family int) error {
	err := netsock.Inside(s.p.NetNS, s.p.e.home, func() error {
		for range min(sh.asked, mostMade) {
			fd, err := netsock.New(family)
			if err != nil {
				return err
			}
			sh.fds = append(sh.fds, fd)
		}
		return nil
	})
	if errors.Is(err, netsock.ErrAstray) && w != nil {
		w.Leave()
	}
	if len(sh.fds) > 0 {
		return nil
	}
	return err
}

// shrink closes what was not asked for since the last sweep.
func (s *stock) shrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.shelf {
		sh := &s.shelf[i]
		sh.drop(max(0, len(sh.fds)-sh.asked))
		sh.asked = 0
	}
}

func (s *stock) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.shelf {
		s.shelf[i].drop(len(s.shelf[i].fds))
	}
}

func (sh *shelf) drop(n int) {
	keep := len(sh.fds) - n
	for _, fd := range sh.fds[keep:] {
		_ = unix.Close(fd)
	}
	sh.fds = sh.fds[:keep]
}
