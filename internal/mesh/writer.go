package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

var errTooMany = errors.New("more resources than the proxy holds")

// writer makes the next snapshot out of the current one.
type writer struct {
	Snapshot
	batch   *batch
	network string
	max     int
	order   uint64
	change  Change
}

// address adds or replaces a workload or a service.
func (w *writer) address(a *workload.Address, version string) error {
	raw, err := encode(a)
	if err != nil {
		return fmt.Errorf("encode address: %w", err)
	}
	res := resource{version, raw}
	switch v := a.GetType().(type) {
	case *workload.Address_Workload:
		return w.workload(v.Workload, res)
	case *workload.Address_Service:
		return w.service(v.Service, res)
	}
	return errors.New("read address: neither workload nor service")
}

func (w *writer) full() bool { return w.workloads.size+w.services.size >= w.max }

func (w *writer) workload(msg *workload.Workload, res resource) error {
	next, err := newWorkload(msg)
	if err != nil {
		return err
	}
	old, known := w.workloads.get(next.UID)
	switch {
	case !known && w.full():
		return fmt.Errorf("add workload %q: %w", clip(next.UID), errTooMany)
	case known && bytes.Equal(old.raw, res.raw):
		w.sameWorkload(old, res)
		return nil
	}
	w.order++
	r := &workloadRecord{Workload: next, resource: res, order: w.order}
	if known {
		if w.claim(old.Workload, next) == 0 {
			r.order = old.order
		}
		w.join(old.Workload, next)
	} else {
		w.claim(nil, next)
		w.join(nil, next)
	}
	w.workloads.set(w.batch, next.UID, r)
	w.change.Workloads = append(w.change.Workloads, next.UID)
	return nil
}

// sameWorkload takes over the version only.
func (w *writer) sameWorkload(old *workloadRecord, res resource) {
	if old.version == res.version {
		return
	}
	r := &workloadRecord{Workload: old.Workload, resource: res, order: old.order}
	r.cache.Store(old.cache.Load())
	w.workloads.set(w.batch, old.UID, r)
}

func (w *writer) removeWorkload(uid string) {
	old, ok := w.workloads.get(uid)
	if !ok {
		return
	}
	w.claim(old.Workload, nil)
	w.join(old.Workload, nil)
	w.workloads.remove(w.batch, uid)
	w.change.Workloads = append(w.change.Workloads, uid)
}

// claim moves the index of addresses from old to next and returns how many next claims anew. Who
// keeps an address keeps its place: a late update of a pod that is going must not take the address
// back from the pod that got it since.
func (w *writer) claim(old, next *Workload) (anew int) {
	for _, a := range w.indexed(old) {
		if !slices.Contains(w.indexed(next), a) {
			w.claims(a, func(list []*Workload) []*Workload {
				return slices.DeleteFunc(list, func(x *Workload) bool { return x == old })
			})
		}
	}
	for _, a := range w.indexed(next) {
		w.claims(a, func(list []*Workload) []*Workload {
			if i := slices.Index(list, old); i >= 0 {
				list[i] = next
				return list
			}
			anew++
			return append(list, next)
		})
	}
	return anew
}

func (w *writer) claims(a netip.Addr, change func([]*Workload) []*Workload) {
	list, _ := w.byAddr.get(a)
	if list = change(slices.Clone(list)); len(list) == 0 {
		w.byAddr.remove(w.batch, a)
		return
	}
	w.byAddr.set(w.batch, a, list)
}

// indexed returns the addresses under which x is looked up.
func (w *writer) indexed(x *Workload) []netip.Addr {
	if x == nil || x.HostNetwork || x.Network != w.network {
		return nil
	}
	return x.Addrs
}

// join moves the membership in services from old to next.
func (w *writer) join(old, next *Workload) {
	if old != nil {
		for _, m := range old.Services {
			if next == nil || !next.serves(m.Service) {
				w.member(m.Service, old, nil, nil)
			}
		}
	}
	if next != nil {
		for _, m := range next.Services {
			w.member(m.Service, old, next, m.Ports)
		}
	}
}

func (x *Workload) serves(key string) bool {
	_, ok := slices.BinarySearchFunc(x.Services, key, func(m Membership, key string) int { return strings.Compare(m.Service, key) })
	return ok
}

func (w *writer) member(key string, old, next *Workload, ports []Port) {
	m, _ := w.members.get(key)
	m = m.own(w.batch)
	m.replace(old, next, ports)
	if len(m.all) == 0 {
		w.members.remove(w.batch, key)
		return
	}
	w.members.set(w.batch, key, m)
}

// removeAddress follows the workload API: a name with more than one '/' is a workload's. Names with
// fewer are services', unless only a workload has it.
func (w *writer) removeAddress(name string) {
	if strings.Count(name, "/") <= 1 {
		if _, ok := w.services.get(name); ok {
			w.removeService(name)
			return
		}
	}
	w.removeWorkload(name)
}
