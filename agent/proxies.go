package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/agent/zds"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// proxyAccount runs the node proxy in Kubernetes: its own pod may of course call.
const proxyAccount = "ambit-system/ambit-ztunnel"

// proxies are the ZDS sessions of the node. The newest version 2 session that has the whole snapshot
// is active; the others drain.
type proxies struct {
	a     *Agent
	vault vault

	mu       sync.Mutex
	sessions []*session // newest first
	current  *zds.Session
	lastSeen time.Time         // when a version 2 session was last there
	cgroups  map[uint64]string // proxies' cgroups and their directories
}

type session struct {
	*zds.Session
	cgroup string
	id     uint64
}

func newProxies(a *Agent) *proxies {
	return &proxies{a: a, lastSeen: a.cfg.Now(), cgroups: map[uint64]string{}, vault: vault{fd: -1}}
}

// Admit refuses a peer of another user, one whose cgroup would make others count as the proxy, and
// pods.
func (x *proxies) Admit(peer zds.Peer) error {
	if int(peer.UID) != os.Getuid() {
		return fmt.Errorf("uid %d is not the agent's", peer.UID)
	}
	dir, _, err := x.a.cgroups.of(peer.PID)
	if err != nil {
		return err
	}
	if dir == x.a.cgroups.mount || !within(dir, x.a.cgroups.root) || dir == x.a.cgroups.root {
		return fmt.Errorf("cgroup %s: want one of its own below %s, by which the kernel tells the proxy from others", dir, x.a.cgroups.root)
	}
	ns, err := netns.InodeAt(fmt.Sprintf("/proc/%d/ns/net", peer.PID))
	if err != nil {
		return err
	}
	for _, p := range x.a.all() {
		if p.holds(dir, ns) {
			return fmt.Errorf("cgroup %s or its network namespace is pod %s's", dir, p.uid)
		}
	}
	return nil
}

// holds says whether a process in this cgroup and network namespace belongs to the pod.
func (p *pod) holds(cgroup string, ns uint64) bool {
	obj := p.object()
	if obj.HostNetwork || obj.Namespace+"/"+obj.ServiceAccount == proxyAccount {
		return false
	}
	if obj.Cgroup != "" && within(cgroup, obj.Cgroup) {
		return true
	}
	if len(p.uid) >= 32 { // kubelet's cgroups carry the uid
		if strings.Contains(cgroup, p.uid) || strings.Contains(cgroup, strings.ReplaceAll(p.uid, "-", "_")) {
			return true
		}
	}
	ino, err := netns.InodeAt(obj.NetNS)
	return err == nil && ino == ns
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
	dir, id, err := x.a.cgroups.of(zs.Peer.PID)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.a.mesh.PutProxy(id); err != nil {
		return nil, err
	}
	s := &session{Session: zs, cgroup: dir, id: id}
	x.cgroups[id] = dir
	x.sessions = slices.Insert(x.sessions, 0, s)
	return s, nil
}

func (x *proxies) unregister(s *session) {
	x.mu.Lock()
	x.sessions = slices.DeleteFunc(x.sessions, func(o *session) bool { return o == s })
	if x.current == s.Session {
		x.current = nil
		x.lastSeen = x.a.cfg.Now()
	}
	x.mu.Unlock()
	x.a.wakeAll()
}

// welcome is a session's first round: inheritance, every pod, the end of the snapshot; then older
// proxies are told to drain.
func (x *proxies) welcome(ctx context.Context, s *session) error {
	if s.Hello.Version >= 2 {
		x.vault.pass(ctx, s, x.a.log)
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
	x.current = s.Session
	older := slices.Clone(x.sessions)
	x.mu.Unlock()
	x.a.wakeAll()
	for _, o := range older {
		if o.Since.Before(s.Since) && o.Hello.Version >= 2 {
			if _, _, err := o.Do(ctx, &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Drain{Drain: &pb.Drain{}}}); err != nil {
				x.a.log.Warn("older proxy not told to drain", "pid", o.Peer.PID, "error", err)
			}
		}
	}
	return nil
}

// active is the session that gets pods, or nil.
func (x *proxies) active() *zds.Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.current == nil || !x.current.Alive() {
		return nil
	}
	return x.current
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
	plainKnown  bool
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
		state := ack.GetPod()
		if err != nil || state == nil {
			continue // it does not know the pod
		}
		use.connections += state.GetConnections()
		use.idle = min(use.idle, time.Duration(min(state.GetIdleMs(), 1<<40))*time.Millisecond)
		if s.Session == active {
			use.answered, use.plainKnown = true, state.GetPlainKnown()
		}
	}
	return use
}

// redialTime is how long a process in a proxy's cgroup is trusted to be a proxy that redials.
const redialTime = time.Minute

// absent says for how long no proxy could take connections: no session, and no process in a proxy's
// cgroup that would redial.
func (x *proxies) absent(now time.Time) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	busy, process := x.current != nil && x.current.Alive(), false
	for _, dir := range x.cgroups {
		left, err := empty(dir)
		process = process || err == nil && !left
	}
	switch {
	case busy:
		x.lastSeen = now
	case process && now.Sub(x.lastSeen) < redialTime:
		return 0
	}
	return now.Sub(x.lastSeen)
}

// sweep forgets cgroups without session and process, those of an agent before us included.
func (x *proxies) sweep() error {
	ids, err := x.a.mesh.Proxies()
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	for _, id := range ids {
		if slices.ContainsFunc(x.sessions, func(s *session) bool { return s.id == id }) {
			continue
		}
		if x.cgroups[id] == "" {
			if dir, ok := x.a.cgroups.find(id); ok {
				x.cgroups[id] = dir
			}
		}
		dir := x.cgroups[id]
		done := dir == ""
		if !done {
			gone, err := empty(dir)
			done = gone
			errs = append(errs, err)
			if now, err := cgroupID(dir); err != nil || now != id {
				done = true // the directory was made again
			}
		}
		if done {
			delete(x.cgroups, id)
			errs = append(errs, x.a.mesh.DeleteProxy(id))
		}
	}
	return errors.Join(errs...)
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
