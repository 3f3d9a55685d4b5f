package zds

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

func TestEveryRequestIsAnsweredOnce(t *testing.T) {
	h := &recorder{t: t}
	_, l := run(t, h)
	a := accept(t, l)
	for _, m := range []*pb.WorkloadRequest{
		{Payload: &pb.WorkloadRequest_Inherit{Inherit: &pb.Inherit{}}},
		{Payload: &pb.WorkloadRequest_Keep{Keep: &pb.KeepWorkload{Uid: "u"}}},
		{Payload: &pb.WorkloadRequest_SnapshotSent{SnapshotSent: &pb.SnapshotSent{}}},
		{Payload: &pb.WorkloadRequest_Retire{Retire: &pb.RetireWorkload{Uid: "u"}}},
		{Payload: &pb.WorkloadRequest_Del{Del: &pb.DelWorkload{Uid: "u"}}},
		{Payload: &pb.WorkloadRequest_Drain{Drain: &pb.Drain{}}},
	} {
		if ack, _ := a.ask(m); ack.GetError() != "" {
			t.Errorf("%v: %s", m, ack.GetError())
		}
	}
	want := []string{"begin", "inherit none", "keep u", "snapshot", "retire u", "del u", "drain"}
	if got := h.seen(); !slices.Equal(got, want) {
		t.Errorf("handler was asked %v, want %v", got, want)
	}
}

func TestAddCarriesSockets(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		h := &recorder{t: t}
		_, l := run(t, h)
		a := accept(t, l)
		if ack, _ := a.ask(addOf("u", v6), files(t, 1+len(Slots(v6)))...); ack.GetError() != "" {
			t.Fatal(ack.GetError())
		}
		h.mu.Lock()
		p := h.pods[0]
		h.mu.Unlock()
		if p.Name != "web" || p.Mark != 77 || p.V6 != v6 || len(p.Listeners) != len(Slots(v6)) || !slices.Equal(p.Addrs, []netip.Addr{netip.MustParseAddr("10.0.0.1")}) {
			t.Errorf("got %+v", p)
		}
		for _, fd := range append([]int{p.NetNS}, p.Listeners...) {
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("descriptor %d: flags %x, %v: would leak into children", fd, flags, err)
			}
		}
	}
}

func TestRefusalsKeepTheSessionAndCloseDescriptors(t *testing.T) {
	noListeners := addOf("u", false)
	noListeners.GetAdd().Listeners = nil
	noAccount := addOf("u", false)
	noAccount.GetAdd().WorkloadInfo.ServiceAccount = ""
	badAddress := addOf("u", false)
	badAddress.GetAdd().WorkloadInfo.Addresses = [][]byte{{1, 2, 3}}
	tests := map[string]struct {
		m    proto.Message
		fds  int
		want string
	}{
		"version 1":            {noListeners, 1, "needs version 2"},
		"too few descriptors":  {addOf("u", false), 3, "3 descriptors, want 4"},
		"too many descriptors": {addOf("u", false), 9, "9 descriptors, want 4"},
		"far too many":         {addOf("u", false), 40, "too large"},
		"no account":           {noAccount, 4, "service account"},
		"bad address":          {badAddress, 4, "address 010203"},
		"unknown kind":         {&pb.PodState{Waiting: "field 4 is no request"}, 0, "unknown kind"},
		"del with descriptor":  {&pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Del{Del: &pb.DelWorkload{Uid: "u"}}}, 1, "1 descriptors, want 0"},
		"del without uid":      {&pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Del{Del: &pb.DelWorkload{}}}, 0, "uid"},
		"garbage":              {&pb.ZdsHello{Instance: strings.Repeat("x", 2*maxPacket)}, 0, "too large"},
	}
	h := &recorder{t: t}
	_, l := run(t, h)
	a := accept(t, l)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fds := files(t, tt.fds)
			before := openFiles(t)
			ack, _ := a.ask(tt.m, fds...)
			if !strings.Contains(ack.GetError(), tt.want) {
				t.Errorf("answer %q, want %q in it", ack.GetError(), tt.want)
			}
			if after := openFiles(t); after != before {
				t.Errorf("%d descriptors open, %d before", after, before)
			}
		})
	}
	if got := h.seen(); !slices.Equal(got, []string{"begin"}) {
		t.Errorf("handler was asked %v", got)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestAnswersCarryStateAndDescriptors(t *testing.T) {
	own, err := os.Create(filepath.Join(t.TempDir(), "own"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() }) // after the client has ended
	fds := files(t, 7)
	h := &recorder{t: t, own: own, give: Sockets{V6: true, Mark: 5, NetNS: fds[0], Listeners: fds[1:]}}
	_, l := run(t, h)
	a := accept(t, l)
	ack, _ := a.ask(&pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Query{Query: &pb.QueryPod{Uid: "u"}}})
	if p := ack.GetPod(); p.GetConnections() != 3 || !p.GetPlainKnown() || p.GetIdleMs() != 5000 || p.GetWaiting() != "certificate" {
		t.Errorf("state %v", p)
	}
	ack, got := a.ask(&pb.WorkloadRequest{Payload: &pb.WorkloadRequest_ReturnListeners{ReturnListeners: &pb.ReturnListeners{Uid: "u"}}})
	closeAll(got)
	if s := ack.GetListeners(); len(got) != 7 || !s.GetV6() || s.GetMark() != 5 {
		t.Errorf("returned %d descriptors, %v", len(got), s)
	}
	old, err := os.CreateTemp(t.TempDir(), "old")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if _, err := old.WriteString("before"); err != nil {
		t.Fatal(err)
	}
	_, got = a.ask(&pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Inherit{Inherit: &pb.Inherit{HasState: true}}}, int(old.Fd()))
	defer closeAll(got)
	var x, y unix.Stat_t
	if len(got) != 1 || unix.Fstat(got[0], &x) != nil || unix.Fstat(int(own.Fd()), &y) != nil || x.Ino != y.Ino {
		t.Errorf("inherit gave %d descriptors, or of another file", len(got))
	}
	if !slices.Contains(h.seen(), "inherit before") {
		t.Errorf("handler was asked %v", h.seen())
	}
}

func TestErrorsAreCutToFit(t *testing.T) {
	h := &recorder{t: t, fail: errors.New(strings.Repeat("ü", maxPacket))}
	_, l := run(t, h)
	a := accept(t, l)
	ack, _ := a.ask(&pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Drain{Drain: &pb.Drain{}}})
	if n := len(ack.GetError()); n == 0 || n > maxError {
		t.Errorf("error of %d bytes", n)
	}
}

func TestRedial(t *testing.T) {
	h := &recorder{t: t}
	c, l := run(t, h)
	accept(t, l).Close()
	a := accept(t, l)
	a.ask(&pb.WorkloadRequest{Payload: &pb.WorkloadRequest_SnapshotSent{SnapshotSent: &pb.SnapshotSent{}}})
	if got, want := h.seen(), []string{"begin", "end", "begin", "snapshot"}; !slices.Equal(got, want) {
		t.Errorf("handler was asked %v, want %v", got, want)
	}
	c.Last()
	a.Close()
	if err := l.SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if again, err := l.AcceptUnix(); err == nil {
		again.Close()
		t.Error("called again after the last session")
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, m := range []*pb.WorkloadRequest{
		addOf("u", true), addOf("u", false),
		{Payload: &pb.WorkloadRequest_Inherit{Inherit: &pb.Inherit{HasState: true}}},
		{Payload: &pb.WorkloadRequest_Del{Del: &pb.DelWorkload{Uid: "u"}}},
		{Payload: &pb.WorkloadRequest_Query{Query: &pb.QueryPod{Uid: "u"}}},
		{},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, 4)
		f.Add(b, 0)
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		m, err := ParseRequest(b, n)
		if err != nil || m.GetAdd() == nil {
			return
		}
		fds := make([]int, n)
		p, err := pod(m.GetAdd(), fds)
		if err != nil || p.UID == "" || p.ServiceAccount == "" || len(p.Addrs) == 0 || len(p.Listeners) != len(Slots(p.V6)) {
			t.Errorf("accepted %+v: %v", p, err)
		}
	})
}
