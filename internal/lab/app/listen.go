package app

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const peersKept = 1000

type listener struct {
	args ListenArgs
	l    net.Listener

	mu       sync.Mutex
	conns    map[net.Conn]bool
	accepted int
	received int64
	peers    []string
}

// Listen opens a listener.
func (c *Control) Listen(a *ListenArgs, out *Listening) error {
	l := &listener{args: *a, conns: map[net.Conn]bool{}}
	if l.args.Name == "" {
		l.args.Name, _ = os.Hostname() // without one the banner has none
	}
	network := a.Network
	if network == "" {
		network = "tcp"
	}
	lc := net.ListenConfig{Control: onDevice(a.Device)}
	lc.SetMultipathTCP(a.MPTCP)
	var err error
	if l.l, err = lc.Listen(context.Background(), network, net.JoinHostPort(a.Host, strconv.Itoa(a.Port))); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if a.Kind == HTTP {
		go l.serveHTTP()
	} else {
		go l.accept()
	}
	out.ID, out.Address = add(c, c.listeners, l), l.l.Addr().String()
	return nil
}

// Unlisten closes a listener and its connections.
func (c *Control) Unlisten(r *Ref, _ *struct{}) error {
	l, err := take(c, c.listeners, r.ID)
	if err != nil {
		return err
	}
	l.close()
	return nil
}

// UnlistenPort closes the listeners on a port with their connections.
func (c *Control) UnlistenPort(r *PortRef, _ *struct{}) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := false
	for id, l := range c.listeners {
		if a, ok := l.l.Addr().(*net.TCPAddr); ok && a.Port == r.Port {
			l.close()
			delete(c.listeners, id)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("nothing listens on port %d", r.Port)
	}
	return nil
}

// Stats tells what a listener has seen.
func (c *Control) Stats(r *Ref, out *ListenerStats) error {
	l, err := get(c, c.listeners, r.ID)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	*out = ListenerStats{Accepted: l.accepted, Active: len(l.conns), Received: l.received, Peers: append([]string(nil), l.peers...)}
	return nil
}

func (l *listener) accept() {
	for {
		x, err := l.l.Accept()
		if err != nil {
			return
		}
		l.enter(x)
		go func() {
			defer l.leave(x)
			l.serve(x.(*net.TCPConn))
		}()
	}
}

func (l *listener) enter(x net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[x] = true
	l.accepted++
	if len(l.peers) == peersKept {
		l.peers = l.peers[1:]
	}
	l.peers = append(l.peers, x.RemoteAddr().String())
}

func (l *listener) leave(x net.Conn) {
	x.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, x)
}

func (l *listener) got(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received += n
}

func (l *listener) close() {
	l.l.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.conns {
		x.Close()
	}
}

// onDevice is a net.ListenConfig.Control that binds the socket to a device.
func onDevice(device string) func(string, string, syscall.RawConn) error {
	if device == "" {
		return nil
	}
	return func(_, _ string, rc syscall.RawConn) error {
		var err error
		if cerr := rc.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) }); cerr != nil {
			return cerr
		}
		return err
	}
}
