package direct

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/decide"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

var (
	caller = &engine.Pod{UID: "caller", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	dest   = &engine.Pod{UID: "dest", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}
	to     = netip.MustParseAddrPort("10.0.0.2:80")
)

// rig is a Manager with a judge and an agent that tests control.
type rig struct {
	*Manager
	gate *os.File

	mu         sync.Mutex
	generation uint64
	allowed    bool
	why        reason.Reason // of running connections; None: they stay
	counted    decide.Tally
	asked      []*pb.DirectRequest
	accounts   []*pb.DirectAccount
	ended      []*pb.DirectFlow
	live       []*pb.DirectFlow
	told       []*engine.Record
	fail       string // what the agent answers to End
}

func newRig(t *testing.T) *rig {
	t.Helper()
	x := &rig{generation: 5, allowed: true}
	x.Manager = New(Config{
		Judge: x, Generation: 5, PolicyWait: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Pod: func(uid string) *engine.Pod { return map[string]*engine.Pod{"caller": caller, "dest": dest}[uid] },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); x.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	fd, err := unix.MemfdCreate("gate", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	x.gate = os.NewFile(uintptr(fd), "gate")
	t.Cleanup(func() { x.gate.Close() })
	if err := x.gate.Truncate(int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	return x
}

// offer is what the agent does; the returned function is its end.
func (x *rig) offer(t *testing.T) (end func()) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "agent's end")
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	gate, err := unix.FcntlInt(x.gate.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	go x.serve(c)
	t.Cleanup(func() { c.Close() })
	if err := x.Open(gate, fds[1]); err != nil {
		t.Fatal(err)
	}
	return func() { c.Close() }
}

func (x *rig) serve(c net.Conn) {
	b := make([]byte, 1<<16)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		req := &pb.DirectRequest{}
		if err := proto.Unmarshal(b[:n], req); err != nil {
			return
		}
		out, err := proto.Marshal(x.answer(req))
		if err != nil {
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

func (x *rig) answer(req *pb.DirectRequest) *pb.DirectResponse {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := &pb.DirectResponse{Answered: true}
	switch req.GetPayload().(type) {
	case *pb.DirectRequest_Renew:
		return out
	case *pb.DirectRequest_Read:
		out.Accounts = x.accounts
		return out
	case *pb.DirectRequest_Ended:
		out.Flows, x.ended = x.ended, nil
		return out
	case *pb.DirectRequest_Live:
		out.Flows = x.live
		return out
	case *pb.DirectRequest_End:
		out.Error = x.fail
	}
	x.asked = append(x.asked, req)
	return out
}

// take is what the agent was asked since the last call, but for renewals and readings.
func (x *rig) take() []*pb.DirectRequest {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := x.asked
	x.asked = nil
	return out
}

func (x *rig) Direct(p *engine.Pod, at netip.AddrPort) (decide.Ruling, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := decide.Ruling{Generation: x.generation, Caller: p}
	if x.allowed {
		r.Places = []decide.Place{{Pod: dest, At: at}}
	}
	return r, x.allowed
}

func (x *rig) RejudgeDirect(*engine.Pod, *engine.Pod, netip.AddrPort) (reason.Reason, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.why, x.why == reason.None
}

func (x *rig) Logs() bool { return true }

func (x *rig) Ended(r *engine.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.told = append(x.told, r)
}

func (x *rig) Count(_ *decide.Ruling, _ *decide.Place, n decide.Tally) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.counted.Opened += n.Opened
	x.counted.Closed += n.Closed
	x.counted.Failed += n.Failed
	x.counted.Sent += n.Sent
	x.counted.Received += n.Received
}

// change publishes a snapshot as a store does.
func (x *rig) change(f func()) {
	x.mu.Lock()
	next := x.generation + 1
	x.mu.Unlock()
	x.Publishing(next)
	x.mu.Lock()
	x.generation = next
	f()
	x.mu.Unlock()
	x.poke()
}

func (x *rig) words(t *testing.T) (generation, lease uint64) {
	t.Helper()
	mem, err := unix.Mmap(int(x.gate.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	g := gate{mem: mem}
	return g.word(0).Load(), g.word(1).Load()
}

func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

var errNotYet = errors.New("not yet")
