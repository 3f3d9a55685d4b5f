package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// echoes are the connections of the TCP echo.
type echoes struct {
	mu   sync.Mutex
	open map[*net.TCPConn]struct{}
	all  sync.WaitGroup
}

func (e *echoes) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		tcp := c.(*net.TCPConn) // of a TCP listener
		e.mu.Lock()
		if e.open == nil {
			e.open = map[*net.TCPConn]struct{}{}
		}
		e.open[tcp] = struct{}{}
		e.all.Add(1)
		e.mu.Unlock()
		go e.echo(tcp)
	}
}

func (e *echoes) echo(c *net.TCPConn) {
	defer e.all.Done()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.open, c)
		_ = c.Close()
	}()
	if _, err := io.Copy(c, c); err != nil {
		_, _ = io.Copy(io.Discard, c) // unread bytes would make the end a reset
	}
}

// end says on every connection that nothing more comes, and waits for the clients to see it.
func (e *echoes) end() error {
	e.mu.Lock()
	for c := range e.open {
		_ = c.CloseWrite() // the client may be gone
	}
	e.mu.Unlock()
	ended := make(chan struct{})
	go func() { e.all.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(500 * time.Millisecond):
		return errors.New("clients of the echo do not end")
	}
}
