package pods

import (
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/zds"
)

// Begin notes a new session: nothing of its snapshot is known yet.
func (r *Registry) Begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session++
	r.synced = false
}

// End notes the session's end. All pods go on.
func (r *Registry) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = false
	r.stopSweep()
	r.publish()
}

// Keep goes on with a pod that the agent cannot hand over again.
func (r *Registry) Keep(uid string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.claim(uid)
	return err
}

// claim finds a pod and notes that this session's agent knows it. Called with r.mu held.
func (r *Registry) claim(uid string) (*entry, error) {
	e := r.pods[uid]
	if e == nil {
		return nil, fmt.Errorf("pod %q: %w", uid, ErrUnknown)
	}
	e.session = r.session
	return e, nil
}

// SnapshotSent notes that the agent has named all pods that it knows. Those that it has not named go
// on until it has not asked for them for StaleAfter: an agent that has just started finds its pods one
// by one, and asks for their listeners then.
func (r *Registry) SnapshotSent() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = true
	r.publish()
	r.stopSweep()
	session := r.session
	r.sweeper = time.AfterFunc(r.cfg.StaleAfter, func() { r.sweep(session) })
	return nil
}

func (r *Registry) stopSweep() {
	if r.sweeper != nil {
		r.sweeper.Stop()
	}
}

// sweep removes what the session has not named.
func (r *Registry) sweep(session uint64) {
	r.mu.Lock()
	var gone []string
	if r.session == session && r.synced && !r.closed {
		for uid, e := range r.pods {
			if e.session != session {
				gone = append(gone, uid)
			}
		}
	}
	r.mu.Unlock()
	for _, uid := range gone {
		r.cfg.Log.Info("the agent does not know the pod any more", "uid", uid)
		<-r.remove(uid)
	}
}

// Return gives a pod's sockets back; they stay the registry's.
func (r *Registry) Return(uid string) (zds.Sockets, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.claim(uid)
	if err != nil {
		return zds.Sockets{}, err
	}
	r.publish()
	return e.sockets, nil
}

// Retire notes that the pod's outbound is off. It is served until Del; Add takes it back.
func (r *Registry) Retire(uid string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.claim(uid)
	if err != nil {
		return err
	}
	e.retiring = true
	e.pod.Leaving.Store(true)
	r.publish()
	r.cfg.Captures.Retire(e.pod.Workload)
	return nil
}

// Query tells a pod's state.
func (r *Registry) Query(uid string) (zds.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.claim(uid)
	if err != nil {
		return zds.State{}, err
	}
	last := e.added
	if at := e.pod.Usage.LastAccept.Load(); at > last.UnixNano() {
		last = time.Unix(0, at)
	}
	given, latest := r.handedOver(e.pod)
	if latest.After(last) {
		last = latest
	}
	return zds.State{
		Connections: uint64(max(0, e.pod.Usage.Connections.Load()) + given),
		PlainKnown:  r.cfg.Captures.PlainKnown(e.pod.Workload),
		Idle:        r.cfg.Now().Sub(last),
		Waiting:     r.waiting(e.pod, e.retiring),
	}, nil
}

// handedOver counts the connections of other pods of this node that end in p: its own usage does not
// have them, but they need its way back.
func (r *Registry) handedOver(p *engine.Pod) (n int64, latest time.Time) {
	r.cfg.Engine.Each(func(c *engine.Record) bool {
		if d := c.Attempt.Dial; d.Action == engine.Deliver && d.Pod == p && c.Pod != p {
			n++
			if c.Accepted.After(latest) {
				latest = c.Accepted
			}
		}
		return true
	})
	return n, latest
}
