package agent

import (
	"errors"
	"slices"
	"time"
)

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
