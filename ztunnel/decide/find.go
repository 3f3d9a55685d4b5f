package decide

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/ambitmesh/ambit/internal/mesh"
)

// Errors of names that the mesh does not know.
var (
	errNoPod  = errors.New("no pod of that name or address is known to the mesh")
	errNobody = errors.New("no pod or service of that name is known to the mesh")
)

// subject is who calls.
type subject struct {
	workload *mesh.Workload // nil: outside of the mesh
	addr     netip.Addr
}

func (s subject) namespace() string {
	if s.workload == nil {
		return ""
	}
	return s.workload.Namespace
}

// place is what is called: an address, or a service that has none.
type place struct {
	addr    netip.Addr
	service *mesh.Service
}

func findSource(snap *mesh.Snapshot, name string) (subject, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return subject{snap.WorkloadAt(a), a.Unmap()}, nil
	}
	w := findPod(snap, name)
	if w == nil || len(w.Addrs) == 0 {
		return subject{}, errNoPod
	}
	return subject{w, w.Addrs[0]}, nil
}

func findDestination(snap *mesh.Snapshot, name, clientNamespace string) (place, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return place{addr: a.Unmap()}, nil
	}
	if w := findPod(snap, name); w != nil && len(w.Addrs) > 0 {
		return place{addr: w.Addrs[0]}, nil
	}
	svc := findService(snap, name, clientNamespace)
	if svc == nil {
		return place{}, errNobody
	}
	p := place{service: svc}
	for _, vip := range svc.VIPs {
		if vip.IsSingleIP() {
			p.addr = vip.Addr()
			break
		}
	}
	return p, nil
}

// findPod takes a uid or "namespace/name".
func findPod(snap *mesh.Snapshot, name string) *mesh.Workload {
	if w := snap.Workload(name); w != nil {
		return w
	}
	namespace, pod, ok := strings.Cut(name, "/")
	if !ok {
		return nil
	}
	var found *mesh.Workload
	for w := range snap.Workloads() {
		if w.Namespace == namespace && w.Name == pod && (found == nil || w.UID < found.UID) {
			found = w
		}
	}
	return found
}

// findService takes a key, "namespace/name" or a host name, whole or as far as its namespace.
func findService(snap *mesh.Snapshot, name, clientNamespace string) *mesh.Service {
	if s := snap.Service(name); s != nil {
		return s
	}
	if s := snap.Service(clientNamespace + "/" + name); s != nil {
		return s
	}
	if s := snap.ServiceOf(strings.ToLower(name)); s != nil {
		return s
	}
	namespace, short, ok := strings.Cut(name, "/")
	if !ok {
		short, namespace, _ = strings.Cut(name, ".")
		if namespace == "" {
			namespace = clientNamespace
		}
	}
	var found *mesh.Service
	for s := range snap.Services() {
		if s.Namespace == namespace && s.Name == short && (found == nil || s.Key < found.Key) {
			found = s
		}
	}
	return found
}
