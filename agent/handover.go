package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/zds"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// introduce gives a pod to a new session. A pod that the proxy refuses is tried again by its worker;
// an error means that the session is broken.
func (p *pod) introduce(ctx context.Context, s *zds.Session) error {
	p.work.Lock()
	defer p.work.Unlock()
	_, w, ended := p.wanted()
	if p.ns == nil || !p.attached || ended {
		return nil
	}
	if p.listeners == nil && (s.Hello.Version < 2 || !p.getBack(ctx, s)) {
		return nil // the worker makes new ones
	}
	err := p.add(ctx, s)
	if err == nil && s.Hello.Version >= 2 && !p.retired.IsZero() && w.desired == DesiredNone {
		_, _, err = s.Do(ctx, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Retire{Retire: &pb.RetireWorkload{Uid: p.uid}}})
	}
	if errors.Is(err, zds.ErrRefused) {
		p.a.log.Warn("proxy refused a pod", "uid", p.uid, "error", err)
		return nil
	}
	return err
}

// add gives the pod to a proxy: its namespace, then the listeners in ListenerSet's order.
func (p *pod) add(ctx context.Context, s *zds.Session) error {
	obj := p.object()
	fds := []int{int(p.ns.File().Fd())}
	msg := &pb.AddWorkload{Uid: p.uid, WorkloadInfo: &pb.WorkloadInfo{
		Name: obj.Name, Namespace: obj.Namespace, ServiceAccount: obj.ServiceAccount,
	}}
	if s.Hello.Version >= 2 {
		msg.Listeners = &pb.ListenerSet{V6: p.addrs.V6.IsValid(), Mark: netns.Mark}
		for _, a := range p.addrs.Valid() {
			msg.WorkloadInfo.Addresses = append(msg.WorkloadInfo.Addresses, a.AsSlice())
		}
		fds = append(fds, p.queues()...)
	}
	_, got, err := s.Do(ctx, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Add{Add: msg}}, fds...)
	closeFDs(got)
	if err != nil {
		return fmt.Errorf("add pod %s: %w", p.uid, err)
	}
	if s.Hello.Version >= 2 {
		p.added = s
	}
	return nil
}

// getBack asks a proxy for the listeners that the agent before us made.
func (p *pod) getBack(ctx context.Context, s *zds.Session) bool {
	ack, fds, err := s.Do(ctx, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_ReturnListeners{ReturnListeners: &pb.ReturnListeners{Uid: p.uid}}})
	if err == nil {
		err = p.take(ack.GetListeners(), fds)
	}
	if err != nil {
		closeFDs(fds)
		p.a.log.Info("listeners not returned", "uid", p.uid, "error", err)
		return false
	}
	p.a.events.add("listeners_returned", 1)
	return true
}

// take checks what a proxy returned: a wrong socket in the map would swallow the pod's traffic.
func (p *pod) take(ls *pb.ListenerSet, fds []int) error {
	set := netns.Order(p.addrs.V6.IsValid())
	if ls == nil || ls.GetV6() != p.addrs.V6.IsValid() || len(fds) != 1+len(set) {
		return fmt.Errorf("got %d descriptors of set %v, want %d", len(fds), ls, 1+len(set))
	}
	for i := range set {
		fd := fds[1+i]
		if !p.ns.IsListener(fd) {
			return fmt.Errorf("descriptor %d is no TCP listener of the pod's namespace", 1+i)
		}
		set[i].FD = fd
	}
	unix.Close(fds[0]) // the namespace is open already
	p.listeners = set
	return nil
}

// vault holds the newest proxy's state for the next one. The agent never reads it.
type vault struct {
	mu sync.Mutex
	fd int      // -1: none
	of *session // whose it is
}

// pass gives a proxy its predecessor's state and keeps its own. After this agent's restart the newer of two
// proxies may call first: then it gets the state when the older one brings it, if it lives.
//
// hand gives one a state, -1 for none, and returns its own, or -1.
func (v *vault) pass(s *session, hand func(to *session, state int) int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	another := v.fd >= 0 && v.of.Hello.Instance != s.Hello.Instance
	older, state := another && !s.newer(v.of), -1
	if another && !older {
		state = v.fd
	}
	own := hand(s, state)
	if own < 0 {
		return
	}
	heir := v.of
	if !older || !heir.Alive() {
		v.keep(own, s)
		return
	}
	defer closeFDs([]int{own})
	if again := hand(heir, own); again >= 0 {
		v.keep(again, heir)
	}
}

// keep takes over fd.
func (v *vault) keep(fd int, of *session) {
	if v.fd >= 0 {
		closeFDs([]int{v.fd})
	}
	v.fd, v.of = fd, of
}

// handDown gives a proxy a state and returns its own, as pass asks for it.
func handDown(ctx context.Context, log *slog.Logger, s *session, state int) int {
	var fds []int
	if state >= 0 {
		fds = []int{state}
	}
	req := &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Inherit{Inherit: &pb.Inherit{HasState: len(fds) > 0}}}
	_, got, err := s.Do(ctx, req, fds...)
	if err != nil {
		log.Warn("proxy did not inherit", "pid", s.Peer.PID, "error", err)
		return -1
	}
	if len(got) == 0 {
		return -1
	}
	closeFDs(got[1:])
	return got[0]
}

func (v *vault) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fd >= 0 {
		closeFDs([]int{v.fd})
		v.fd = -1
	}
}
