package bpf

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Kind is what a listener takes.
type Kind uint32

// The kinds of listeners, as in maps.h.
const (
	Inbound Kind = iota
	Outbound
	HBONE
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Inbound, Outbound, HBONE} }

// PutListener makes fd the listener for a pod's address, in place of the one before. The entry goes
// when the socket's last descriptor is closed.
func (m *Mesh) PutListener(addr netip.Addr, k Kind, fd int) error {
	if err := m.obj.Listeners.Put(meshListenerKey{Ip: words(addr), Kind: uint32(k)}, uint64(fd)); err != nil {
		return fmt.Errorf("put listener %d of %s: %w", k, addr, err)
	}
	return nil
}

// HasListener says whether somebody holds a listener for the address.
func (m *Mesh) HasListener(addr netip.Addr, k Kind) (bool, error) {
	var cookie uint64
	err := m.obj.Listeners.Lookup(meshListenerKey{Ip: words(addr), Kind: uint32(k)}, &cookie)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for listener %d of %s: %w", k, addr, err)
	}
	return true, nil
}

// PutAddress says that an address belongs to the pod of this namespace, so that probes of it are known.
func (m *Mesh) PutAddress(addr netip.Addr, cookie uint64) error {
	if err := m.obj.Addresses.Put(meshAddr{Ip: words(addr)}, cookie); err != nil {
		return fmt.Errorf("put address %s: %w", addr, err)
	}
	return nil
}

// Owner is the cookie of the namespace that an address belongs to.
func (m *Mesh) Owner(addr netip.Addr) (cookie uint64, ok bool, err error) {
	err = m.obj.Addresses.Lookup(meshAddr{Ip: words(addr)}, &cookie)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up address %s: %w", addr, err)
	}
	return cookie, true, nil
}

// ForgetAddress removes an address with its listeners, exclusions and attested flows.
func (m *Mesh) ForgetAddress(addr netip.Addr) error {
	errs := []error{gone(m.obj.Addresses.Delete(meshAddr{Ip: words(addr)}))}
	for _, k := range Kinds() {
		errs = append(errs, gone(m.obj.Listeners.Delete(meshListenerKey{Ip: words(addr), Kind: uint32(k)})))
	}
	errs = append(errs, m.SetExcluded(addr, nil), m.dropFlows(addr))
	return errors.Join(errs...)
}

// SetExcluded makes ports the address's only ones that reach the application uncaptured.
func (m *Mesh) SetExcluded(addr netip.Addr, ports []uint16) error {
	want := map[meshPortKey]bool{}
	for _, p := range ports {
		k := meshPortKey{Ip: words(addr), Port: uint32(p)}
		want[k] = true
		if err := m.obj.Excluded.Put(k, uint32(1)); err != nil {
			return fmt.Errorf("exclude port %d of %s: %w", p, addr, err)
		}
	}
	return deleteWhere[meshPortKey, uint32](m.obj.Excluded, func(k meshPortKey) bool {
		return k.Ip == words(addr) && !want[k]
	})
}

// dropFlows forgets the attested flows towards an address, so that its next owner inherits none.
func (m *Mesh) dropFlows(addr netip.Addr) error {
	to := func(t meshTuple) bool { return t.Dip == words(addr) }
	return errors.Join(
		deleteWhere[meshTuple, uint64](m.obj.Legs, to),
		deleteWhere[meshTuple, uint64](m.obj.Probes, to),
		m.DropDirectFlows(addr))
}

// Flows counts the attested flows of legs and probes.
func (m *Mesh) Flows() (legs, probes int, err error) {
	// The pods' shares are few, the legs may be a quarter of a million.
	var cookie, n uint64
	it := m.obj.LegCount.Iterate()
	for it.Next(&cookie, &n) {
		legs += int(n)
	}
	if err = it.Err(); err != nil {
		return 0, 0, fmt.Errorf("count legs: %w", err)
	}
	if probes, err = size[meshTuple, uint64](m.obj.Probes); err != nil {
		return 0, 0, fmt.Errorf("count probes: %w", err)
	}
	return legs, probes, nil
}

// deleteWhere collects first: deleting under an iteration makes the kernel start over.
func deleteWhere[K, V any](m *ebpf.Map, match func(K) bool) error {
	var dead []K
	var k K
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		if match(k) {
			dead = append(dead, k)
		}
	}
	errs := []error{it.Err()}
	for _, k := range dead {
		errs = append(errs, gone(m.Delete(k)))
	}
	return errors.Join(errs...)
}

func size[K, V any](m *ebpf.Map) (n int, err error) {
	var k K
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		n++
	}
	return n, it.Err()
}
