package stage

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// Order is one request of the proxy on the channel for direct connections, and what it writes to the gate
// before: nothing if Lease is 0.
type Order struct {
	Generation uint64
	Lease      time.Duration // from now on, kept up until the next order that has one; negative: it has lapsed
	Request    []byte        // a DirectRequest; nil: none
}

// direct is what the agent offered.
type direct struct {
	gate    []byte
	channel *net.UnixConn
	lease   time.Duration // what is kept up
}

func (d *direct) word(i int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&d.gate[8*i])) }

// extend writes the lease to the gate.
func (d *direct) extend() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	d.word(1).Store(uint64(now.Nano() + d.lease.Nanoseconds()))
	return nil
}

// keepLease renews each second, as proxies do: however slow the machine, a verdict stands.
func (x *Proxy) keepLease() {
	for ; ; time.Sleep(time.Second) {
		x.mu.Lock()
		if x.direct != nil && x.direct.lease > 0 {
			x.direct.extend() //nolint:errcheck // the clock is there
		}
		x.mu.Unlock()
	}
}

// open takes the offer over.
func (x *Proxy) open(fds []int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.manners.Direct {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return errors.New("everything goes through this proxy")
	}
	gate, err := unix.Mmap(fds[0], 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	unix.Close(fds[0])
	f := os.NewFile(uintptr(fds[1]), "channel")
	defer f.Close()
	if err != nil {
		return err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	channel, ok := c.(*net.UnixConn)
	if !ok {
		return os.ErrInvalid
	}
	x.direct = &direct{gate: gate, channel: channel}
	return nil
}

// Direct carries an order out.
func (x *Proxy) Direct(o Order, answer *[]byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.direct == nil {
		return errors.New("nothing was offered")
	}
	if o.Lease != 0 {
		x.direct.lease = o.Lease
		x.direct.word(0).Store(o.Generation)
		if err := x.direct.extend(); err != nil {
			return err
		}
	}
	if o.Request == nil {
		return nil
	}
	if _, err := x.direct.channel.Write(o.Request); err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	n, err := x.direct.channel.Read(b)
	*answer = b[:n]
	return err
}

// Order has the proxy carry an order out.
func (p *Process) Order(tb testing.TB, o Order, req *pb.DirectRequest) *pb.DirectResponse {
	tb.Helper()
	out := &pb.DirectResponse{}
	if err := p.TryOrder(o, req, out); err != nil {
		tb.Fatalf("order: %v", err)
	}
	if out.GetError() != "" {
		tb.Fatalf("the agent answers %q", out.GetError())
	}
	return out
}

// TryOrder is Order for what may fail.
func (p *Process) TryOrder(o Order, req *pb.DirectRequest, out *pb.DirectResponse) (err error) {
	if req != nil {
		if o.Request, err = proto.Marshal(req); err != nil {
			return err
		}
	}
	var b []byte
	if err := p.call("Proxy.Direct", o, &b); err != nil {
		return err
	}
	return proto.Unmarshal(b, out)
}
