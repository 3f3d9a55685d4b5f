package stage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Box is what a process in a pod or on the node can do, by net/rpc.
type Box struct {
	mu     sync.Mutex
	conns  map[int]*client
	storms map[int]*storm
	next   int
}

type client struct {
	*net.TCPConn
	r *bufio.Reader
}

// Conn is how a dial ended.
type Conn struct {
	ID          int
	Local, Peer string // what the client's socket says
	Who         string // the application that answered, with what its socket says:
	SawClient   string
	SawLocal    string
	Err         string
	Took        time.Duration
}

func boxMain() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	// Else the first IPv6 packet waits until link-local addresses are known to be nobody else's.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644); err != nil {
		return err
	}
	return serve("Box", &Box{conns: map[int]*client{}, storms: map[int]*storm{}})
}

// Listen is a server that says who it is and whom it sees, then echoes.
type Listen struct {
	Addr, Who string
}

// Listen starts a server.
func (b *Box) Listen(a Listen, _ *int) error {
	l, err := net.Listen("tcp", a.Addr)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if tc, ok := c.(*net.TCPConn); ok {
				go echo(tc, a.Who)
			}
		}
	}()
	return nil
}

func echo(c *net.TCPConn, who string) {
	defer c.Close()
	if _, err := fmt.Fprintf(c, "%s %s %s\n", who, addrPort(c.RemoteAddr()), addrPort(c.LocalAddr())); err != nil {
		return
	}
	if _, err := io.Copy(c, c); err == nil {
		c.CloseWrite() //nolint:errcheck // the peer may be gone
	}
}

// Dial connects and, unless silent, reads the server's banner. A failure is in the answer.
func (b *Box) Dial(d Dial, r *Conn) error {
	begin := time.Now()
	c, err := open(d, r)
	r.Took = time.Since(begin)
	if err != nil {
		r.Err = err.Error()
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	r.ID = b.next
	b.conns[r.ID] = c
	return nil
}

func open(d Dial, r *Conn) (*client, error) {
	tc, err := d.connect()
	if err != nil {
		return nil, err
	}
	c := &client{tc, bufio.NewReader(tc)}
	r.Local, r.Peer = addrPort(tc.LocalAddr()).String(), addrPort(tc.RemoteAddr()).String()
	if d.Silent {
		return c, nil
	}
	if err := c.SetReadDeadline(time.Now().Add(d.timeout())); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read: %w", err), c.Close())
	}
	if f := strings.Fields(line); len(f) == 3 {
		r.Who, r.SawClient, r.SawLocal = f[0], f[1], f[2]
	}
	return c, nil
}

func (b *Box) conn(id int) (*client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.conns[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no connection %d", id)
}

// Ping sends some bytes and waits for their echo.
func (b *Box) Ping(id int, _ *int) error {
	c, err := b.conn(id)
	if err != nil {
		return err
	}
	return c.ping()
}

func (c *client) ping() error {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(c.r, got); err != nil {
		return err
	}
	if string(got) != "ping" {
		return fmt.Errorf("read %q", got)
	}
	return nil
}

// Bulk sends n bytes, ends the sending side, and counts what comes back until the end.
func (b *Box) Bulk(a [2]int, got *int) error {
	c, err := b.conn(a[0])
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(50 * time.Second)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(c.TCPConn, zeros{}, int64(a[1]))
		sent <- errors.Join(err, c.CloseWrite())
	}()
	n, err := io.Copy(io.Discard, c.r)
	*got = int(n)
	return errors.Join(err, <-sent)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// End waits until the peer ends the connection and says how: "EOF" or an error.
func (b *Box) End(id int, how *string) error {
	c, err := b.conn(id)
	if err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(40 * time.Second)); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c.r)
	*how = "EOF"
	if err != nil {
		*how = err.Error()
	}
	return nil
}

// Reuse disconnects a connection's socket and connects it to another address.
func (b *Box) Reuse(a Again, _ *int) error {
	old, err := b.conn(a.ID)
	if err != nil {
		return err
	}
	f, err := old.File() // a duplicate: the netpoller lets go of the first
	if err != nil {
		return err
	}
	fd, err := unix.Dup(int(f.Fd()))
	if err := errors.Join(err, f.Close(), old.TCPConn.Close(), disconnect(fd)); err != nil {
		return err
	}
	to, err := netip.ParseAddrPort(a.To)
	if err != nil {
		return err
	}
	c, err := Dial{To: a.To}.dialOn(fd, to)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns[a.ID] = &client{c, bufio.NewReader(c)}
	return nil
}

// Again is a connection and where its socket is to go next.
type Again struct {
	ID int
	To string
}

// disconnect is connect to AF_UNSPEC.
func disconnect(fd int) error {
	var none [16]byte
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), uintptr(len(none)))
	if e != 0 {
		return fmt.Errorf("disconnect: %w", e)
	}
	return unix.SetNonblock(fd, true)
}

// Close ends a connection.
func (b *Box) Close(id int, _ *int) error {
	c, err := b.conn(id)
	if err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.conns, id)
	b.mu.Unlock()
	return c.Close()
}

// Sysctl writes a file below /proc/sys/net of the box's namespace, or reads it if the value is "".
func (b *Box) Sysctl(kv [2]string, old *string) error {
	path := "/proc/sys/net/" + kv[0]
	v, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	*old = strings.TrimSpace(string(v))
	if kv[1] == "" {
		return nil
	}
	return os.WriteFile(path, []byte(kv[1]), 0o644)
}

// Rules counts the namespace's marked routing rules and the routes of table.
func (b *Box) Rules(table int, n *[2]int) error {
	rules, err := netlink.RuleList(netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.Mark != 0 {
			n[0]++
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	n[1] = len(routes)
	return err
}

// ZDS connects to a ZDS socket and says how the other end took it.
func (b *Box) ZDS(path string, how *string) error {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		*how = err.Error()
		return nil
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	n, err := c.Read(make([]byte, 1))
	*how = fmt.Sprint(n, " ", err)
	return nil
}
