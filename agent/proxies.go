package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/sandbox"
	"github.com/ambitmesh/ambit/agent/zds"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// proxies are the ZDS sessions of the node. Of those of version 2 that have the whole snapshot the one of
// the newest process is active; the others drain. Not that of the newest session: after this agent's
// restart proxies call again in any order.
type proxies struct {
	a     *Agent
	vault vault

	mu       sync.Mutex
	sessions []*session // newest first
	current  *session
	lastSeen time.Time         // when a version 2 session was last there
	cgroups  map[uint64]string // proxies' cgroups and their directories
}

type session struct {
	*zds.Session
	cgroup  string
	id      uint64
	started uint64 // when the process started, in clock ticks after boot
}

// newer says whether s is of a newer proxy than o.
func (s *session) newer(o *session) bool {
	return cmp.Or(cmp.Compare(s.started, o.started), s.Since.Compare(o.Since)) > 0
}

func newProxies(a *Agent) *proxies {
	return &proxies{a: a, lastSeen: a.cfg.Now(), cgroups: map[uint64]string{}, vault: vault{fd: -1}}
}

// Serve gives a session all pods, makes it the active one and stays until it ends.
func (x *proxies) Serve(ctx context.Context, zs *zds.Session) {
	log := x.a.log.With("pid", zs.Peer.PID, "instance", zs.Hello.Instance, "version", zs.Hello.Version)
	s, err := x.register(zs)
	if err != nil {
		log.Warn("zds session refused", "error", err)
		x.a.events.add("zds_refused", 1)
		return
	}
	x.a.events.add("zds_sessions", 1)
	defer x.unregister(s)
	if err := x.welcome(ctx, s); err != nil {
		log.Warn("zds session broke off", "error", err)
		return
	}
	log.Info("proxy is served", "cgroup", s.cgroup, "build", s.Hello.Build)
	select {
	case <-s.Done():
		log.Info("proxy is gone")
	case <-ctx.Done():
	}
}

func (x *proxies) register(zs *zds.Session) (*session, error) {
	dir, id, err := x.home(zs.Peer) // again: it may have moved since Admit
	if err != nil {
		return nil, err
	}
	started, err := sandbox.Started(zs.Peer.PID)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.a.mesh.PutProxy(id); err != nil {
		return nil, err
	}
	s := &session{Session: zs, cgroup: dir, id: id, started: started}
	x.cgroups[id] = dir
	x.sessions = slices.Insert(x.sessions, 0, s)
	return s, nil
}

func (x *proxies) unregister(s *session) {
	x.mu.Lock()
	x.sessions = slices.DeleteFunc(x.sessions, func(o *session) bool { return o == s })
	if x.current == s {
		x.current = nil
		x.lastSeen = x.a.cfg.Now()
	}
	x.mu.Unlock()
	x.a.direct.end(s.Session)
	x.a.wakeAll()
}

// welcome is a session's first round: inheritance, every pod, the end of the snapshot; then older
// proxies are told to drain.
func (x *proxies) welcome(ctx context.Context, s *session) error {
	if s.Hello.Version >= 2 {
		x.vault.pass(s, func(to *session, state int) int { return handDown(ctx, x.a.log, to, state) })
	}
	if err := x.allKnown(ctx, s.Session); err != nil {
		return err
	}
	for _, p := range x.a.all() {
		if err := p.introduce(ctx, s.Session); err != nil {
			return err
		}
	}
	if _, _, err := s.Do(ctx, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_SnapshotSent{SnapshotSent: &pb.SnapshotSent{}}}); err != nil {
		return fmt.Errorf("end of snapshot: %w", err)
	}
	if s.Hello.Version < 2 {
		return nil // it cannot take our listeners: never active
	}
	x.mu.Lock()
	if x.current != nil && x.current.Alive() && x.current.newer(s) {
		x.mu.Unlock()
		x.drain(ctx, s) // the newer one was faster
		return nil
	}
	x.current = s
	older := slices.Clone(x.sessions)
	x.mu.Unlock()
	x.a.wakeAll()
	for _, o := range older {
		if s.newer(o) && o.Hello.Version >= 2 {
			x.drain(ctx, o)
		}
	}
	if err := x.a.direct.offer(ctx, s.Session); err != nil { // it may wait
		x.a.log.Warn("no direct connections", "pid", s.Peer.PID, "error", err)
	}
	return nil
}

// drain tells a proxy that a newer one has its pods.
func (x *proxies) drain(ctx context.Context, s *session) {
	if _, _, err := s.Do(ctx, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Drain{Drain: &pb.Drain{}}}); err != nil {
		x.a.log.Warn("older proxy not told to drain", "pid", s.Peer.PID, "error", err)
	}
}

// allKnown waits until the world has been read and every pod looked at once: a proxy takes the pods that
// the snapshot does not name for gone. While the world cannot be read, the proxy goes on with what it has.
func (x *proxies) allKnown(ctx context.Context, s *zds.Session) error {
	wait := func(c <-chan struct{}) error {
		select {
		case <-c:
			return nil
		case <-s.Done():
			return fmt.Errorf("proxy %d: %w", s.Peer.PID, net.ErrClosed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := wait(x.a.synced)
	for _, p := range x.a.all() {
		if err == nil {
			err = wait(p.seen)
		}
	}
	return err
}

// active is the session that gets pods, or nil.
func (x *proxies) active() *zds.Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.current == nil || !x.current.Alive() {
		return nil
	}
	return x.current.Session
}

// list is the live sessions, newest first.
func (x *proxies) list() []*session {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.sessions)
}

// remove tells every proxy that a pod is gone.
func (x *proxies) remove(ctx context.Context, uid string) {
	x.toAll(ctx, 1, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Del{Del: &pb.DelWorkload{Uid: uid}}})
}

// retire tells every proxy that a pod is being un-enrolled.
func (x *proxies) retire(ctx context.Context, uid string) {
	x.toAll(ctx, 2, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Retire{Retire: &pb.RetireWorkload{Uid: uid}}})
}

func (x *proxies) toAll(ctx context.Context, version int, req *pb.WorkloadRequest) {
	for _, s := range x.list() {
		if s.Hello.Version < version || !s.Alive() {
			continue
		}
		if _, _, err := s.Do(ctx, req); err != nil {
			x.a.log.Warn("proxy did not take a request", "pid", s.Peer.PID, "request", req, "error", err)
		}
	}
}

// podUse is what the proxies say of a pod together.
type podUse struct {
	answered    bool // the active proxy
	heard       bool // any proxy
	plainKnown  bool
	waiting     string        // what the active proxy has not got for the pod yet, or ""
	idle        time.Duration // the shortest
	connections uint64        // of all, draining ones included
}

func (x *proxies) query(ctx context.Context, uid string) podUse {
	active := x.active()
	use := podUse{idle: time.Duration(1<<63 - 1)}
	for _, s := range x.list() {
		if s.Hello.Version < 2 || !s.Alive() {
			continue
		}
		ack, fds, err := s.Do(ctx, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Query{Query: &pb.QueryPod{Uid: uid}}})
		closeFDs(fds)
		use.heard = use.heard || err == nil || errors.Is(err, zds.ErrRefused)
		state := ack.GetPod()
		if err != nil || state == nil {
			continue // it does not know the pod
		}
		use.connections += state.GetConnections()
		use.idle = min(use.idle, time.Duration(min(state.GetIdleMs(), 1<<40))*time.Millisecond)
		if s.Session == active {
			use.answered, use.plainKnown, use.waiting = true, state.GetPlainKnown(), clip(state.GetWaiting())
		}
	}
	return use
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
