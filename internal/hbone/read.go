package hbone

import (
	"fmt"
	"io"
	"net"
)

// Read reads data of the tunnel. It returns io.EOF after the peer has ended its side, ErrReset if it
// broke the tunnel off, ErrConnLost if the connection broke.
func (s *Stream) Read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.waitData(); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) {
		ch := s.in.front()
		if ch == nil {
			break
		}
		m := copy(p[n:], ch.b[ch.r:ch.w])
		s.in.advance(m)
		n += m
	}
	s.consumed(n)
	return n, nil
}

// WriteTo writes the tunnel's data to w until its end, from the buffers it was received into.
// Data counts as read, and makes room for more, once w has taken it.
func (s *Stream) WriteTo(w io.Writer) (total int64, err error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for {
		if err := s.waitData(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := s.lend(w)
		total += int64(n)
		if err != nil {
			return total, fmt.Errorf("write tunnel data: %w", err)
		}
	}
}

// lend writes the first piece of received data to w. mu is held, but not during the write.
func (s *Stream) lend(w io.Writer) (int, error) {
	ch := s.in.front()
	piece := ch.b[ch.r:ch.w]
	ch.lent = true
	s.c.mu.Unlock()
	n, err := w.Write(piece)
	s.c.mu.Lock()
	ch.lent = false
	if s.in.head == ch { // else it was thrown away meanwhile
		s.in.advance(n)
		s.consumed(n)
	}
	if err == nil && n < len(piece) {
		err = io.ErrShortWrite
	}
	return n, err
}

// consumed gives credit for n bytes that were read. mu is held.
func (s *Stream) consumed(n int) {
	s.c.inflow.Read(&s.flow, n)
	s.credit()
	s.c.creditConn()
}

// waitData waits until there is data, and says why there will be none. mu is held.
func (s *Stream) waitData() error {
	for {
		switch {
		case s.closed || s.err == net.ErrClosed:
			return net.ErrClosed
		case s.readBy.past:
			return s.readBy.exceeded()
		case s.in.front() != nil:
			return nil
		case s.remoteEnd:
			return io.EOF
		case s.err != nil:
			return s.err
		}
		s.canRead.Wait()
	}
}
