package pods

import (
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
)

// patience bounds how long the agent waits for a pod's last goroutine; the removal goes on after it.
const patience = 3 * time.Second

// Del ends a pod and all its connections.
func (r *Registry) Del(uid string) error {
	r.await(r.remove(uid))
	return nil
}

func (r *Registry) await(done <-chan struct{}) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		r.cfg.Log.Warn("a pod's end takes long")
	}
}

// remove takes a pod out at once and closes the channel when nothing of it is left.
func (r *Registry) remove(uid string) <-chan struct{} {
	done := make(chan struct{})
	r.mu.Lock()
	e := r.pods[uid]
	if e == nil || r.closed {
		r.mu.Unlock()
		close(done)
		return done
	}
	delete(r.pods, uid)
	r.publish()
	r.closes.Add(1)
	r.mu.Unlock()
	go func() {
		defer r.closes.Done()
		defer close(done)
		r.end(e)
		r.cfg.Log.Info("pod is gone", "namespace", e.pod.Namespace, "name", e.pod.Name, "uid", uid)
	}()
	return done
}

// end gives up everything of a pod.
func (r *Registry) end(e *entry) {
	r.cfg.Engine.Remove(e.pod, reason.PodGone)
	if err := e.pod.NetNS.Close(); err != nil {
		r.cfg.Log.Debug("close network namespace", "uid", e.pod.UID, "error", err)
	}
	e.sockets.Close()
	r.cfg.Certs.Release(e.pod.Identity)
}

// Close takes no more pods and waits until the removals under way are done and all descriptors are
// closed. The engine must have been closed before.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	r.stopSweep()
	left := r.pods
	r.pods = map[string]*entry{}
	r.mu.Unlock()
	for _, e := range left {
		r.end(e)
	}
	r.closes.Wait()
}
