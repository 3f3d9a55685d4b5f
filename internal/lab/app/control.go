package app

import (
	"fmt"
	"sync"
)

// Control holds everything that is open in this process. Its exported methods are the calls.
type Control struct {
	mu        sync.Mutex
	next      int
	listeners map[int]*listener
	conns     map[int]*conn
	loops     map[int]*loop
	groups    map[int]*group
}

// NewControl has nothing open.
func NewControl() *Control {
	return &Control{listeners: map[int]*listener{}, conns: map[int]*conn{}, loops: map[int]*loop{}, groups: map[int]*group{}}
}

// CloseAll ends loops and closes everything.
func (c *Control) CloseAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.loops {
		l.cancel()
	}
	for _, l := range c.listeners {
		l.close()
	}
	for _, x := range c.conns {
		x.Close()
	}
	for _, g := range c.groups {
		g.close()
	}
}

func add[T any](c *Control, m map[int]T, v T) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	m[c.next] = v
	return c.next
}

func get[T any](c *Control, m map[int]T, id int) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := m[id]
	if !ok {
		return v, fmt.Errorf("nothing open with id %d", id)
	}
	return v, nil
}

func take[T any](c *Control, m map[int]T, id int) (T, error) {
	v, err := get(c, m, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(m, id)
	return v, err
}
