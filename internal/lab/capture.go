package lab

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	captureBuffer = 64 << 20  // bytes in the kernel
	captureKept   = 512 << 20 // bytes of payload kept
	snapLength    = 256 << 10
)

// Capture sees every packet of one link.
type Capture struct {
	f    *os.File
	done chan struct{}

	mu       sync.Mutex
	segments []Segment
	kept     int
	last     time.Time
	cut      bool // more came than is kept
}

// Capture starts to see the packets of a link of the host, for example a pod's "eth0".
func (h *Host) Capture(link string) (*Capture, error) {
	l, err := h.link(link)
	if err != nil {
		return nil, err
	}
	c := &Capture{done: make(chan struct{})}
	if err := h.ns.do(func() error { return c.open(l.Attrs().Index) }); err != nil {
		return nil, fmt.Errorf("capture %s of %s: %w", link, h.Name, err)
	}
	go c.read()
	return c, nil
}

// CaptureUplink sees what a node exchanges with the others.
func (n *Node) CaptureUplink() (*Capture, error) {
	return n.lab.fabric.Capture(fabricPort(n.index))
}

func bigEndian16(v uint16) uint16 { return v<<8 | v>>8 }

func (c *Capture) open(index int) error {
	all := bigEndian16(unix.ETH_P_ALL) // every machine that the programs are built for is little-endian
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	c.f = os.NewFile(uintptr(fd), "capture")
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}))
	if err != nil {
		return errors.Join(fmt.Errorf("set up packet socket: %w", err), c.f.Close())
	}
	return nil
}

func (c *Capture) read() {
	defer close(c.done)
	buf := make([]byte, snapLength)
	for {
		n, err := c.f.Read(buf)
		if errors.Is(err, unix.ENETDOWN) {
			continue // the link went away or comes back
		}
		if err != nil {
			return
		}
		if s, ok := parseFrame(buf[:n]); ok {
			c.keep(s)
		}
	}
}

func (c *Capture) keep(s Segment) {
	s.Payload = slices.Clone(s.Payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
	if c.kept += len(s.Payload); c.kept > captureKept {
		c.cut = true
		return
	}
	c.segments = append(c.segments, s)
}

// quiet is how long nothing must come before a capture is taken as complete.
const quiet = 50 * time.Millisecond

// Stop ends the capture once the link has been quiet for a moment, at most a second, and returns what
// was seen. It is an error if anything was missed.
func (c *Capture) Stop() (*Trace, error) {
	for range 20 {
		time.Sleep(quiet)
		c.mu.Lock()
		idle := time.Since(c.last) > quiet
		c.mu.Unlock()
		if idle {
			break
		}
	}
	dropped, err := c.dropped()
	err = errors.Join(err, c.f.Close())
	<-c.done
	if dropped > 0 || c.cut {
		err = errors.Join(err, fmt.Errorf("the capture missed packets (%d dropped, cut %v)", dropped, c.cut))
	}
	return &Trace{c.segments}, err
}

func (c *Capture) dropped() (n uint32, err error) {
	rc, err := c.f.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("count dropped packets: %w", err)
	}
	var st *unix.TpacketStats
	cerr := rc.Control(func(fd uintptr) {
		st, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if err = errors.Join(cerr, err); err != nil {
		return 0, fmt.Errorf("count dropped packets: %w", err)
	}
	return st.Drops, nil
}
