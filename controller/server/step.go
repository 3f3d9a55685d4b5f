package server

import (
	"github.com/ambitmesh/ambit/controller/translate"
	"github.com/ambitmesh/ambit/controller/xds"
)

// step takes what changed to the proxies.
func (f *feed) step() {
	versions, reached, uids := f.take()
	for _, uid := range f.captures.Stale() {
		uids[uid] = struct{}{}
	}
	resolved := make(map[string]bool, len(uids))
	for uid := range uids {
		resolved[uid] = f.resolve(uid)
	}
	if err := f.claims.save(f.captures); err != nil {
		f.log.Error("save claims; a restart may announce captured pods late", "error", err)
	}
	changes, err := f.mesh.Changes()
	if err != nil {
		f.log.Error("translate", "error", err)
	}
	f.cache.Reach(reached)
	position := f.cache.Apply(versions, sorted(changes)...)
	for uid, captured := range resolved {
		f.captures.Applied(uid, captured, position)
	}
	select {
	case f.stepped <- struct{}{}:
	default: // there is a token
	}
}

// take returns how far the mesh is at least, and the pods that changed.
func (f *feed) take() (versions, reached xds.Versions, uids map[string]struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pods := f.pods
	f.pods = map[string]struct{}{}
	return f.versionsNamed(f.versions), f.versionsNamed(f.reached), pods
}

// resolve tells the mesh whether a pod is captured where it runs.
func (f *feed) resolve(uid string) bool {
	node, marked := f.mesh.Redirected(uid)
	captured := f.captures.Resolve(uid, node, marked && f.cluster)
	was, had := f.announced[uid]
	if had && (!captured || was != node) {
		f.mesh.SetCaptured(was, uid, false)
		delete(f.announced, uid)
	}
	if captured && (!had || was != node) {
		f.mesh.SetCaptured(node, uid, true)
		f.announced[uid] = node
	}
	return captured
}

// sorted puts changes by type, as the cache takes them.
func sorted(changes []translate.Change) []xds.Change {
	policies, addresses := xds.Change{TypeURL: xds.AuthorizationType}, xds.Change{TypeURL: xds.AddressType}
	for _, c := range changes {
		to := &addresses
		if c.Type == xds.AuthorizationType {
			to = &policies
		}
		if c.Resource == nil {
			to.Remove = append(to.Remove, c.Name)
			continue
		}
		to.Upsert = append(to.Upsert, xds.Resource{Name: c.Name, Version: c.Resource.Version, Body: c.Resource.Body})
	}
	return []xds.Change{policies, addresses}
}
