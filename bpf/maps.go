package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Pod is an entry of the map of pods.
type Pod struct {
	V4, V6  netip.Addr // the pod's addresses; either may be the zero Addr
	Mark    uint32     // SO_MARK of captured connects and of the proxy's legs
	Mask    uint32
	Capture bool   // outbound connects are captured
	Inode   uint64 // of the network namespace, to find it again
	Saved   uint32 // the pod's sysctls before enrolment, packed by the agent
}

// PutPod makes or replaces the entry of a namespace, and its share of the flow map.
func (m *Mesh) PutPod(cookie uint64, p Pod) error {
	err := m.obj.LegCount.Update(cookie, uint64(0), ebpf.UpdateNoExist)
	if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("leg count of namespace %d: %w", cookie, err)
	}
	v := meshPod{Mark: p.Mark, Mask: p.Mask, NetnsIno: p.Inode, Saved: p.Saved}
	if p.V4.IsValid() {
		a := p.V4.As4()
		v.Ip4 = binary.NativeEndian.Uint32(a[:])
	}
	if p.V6.IsValid() {
		v.Ip6, v.Has6 = words(p.V6), 1
	}
	if p.Capture {
		v.Flags = podCapture
	}
	if err := m.obj.Pods.Put(cookie, v); err != nil {
		return fmt.Errorf("put pod of namespace %d: %w", cookie, err)
	}
	return nil
}

const podCapture = 1 // POD_CAPTURE of maps.h

func podOf(v meshPod) Pod {
	p := Pod{Mark: v.Mark, Mask: v.Mask, Capture: v.Flags&podCapture != 0, Inode: v.NetnsIno, Saved: v.Saved}
	if v.Ip4 != 0 {
		var a [4]byte
		binary.NativeEndian.PutUint32(a[:], v.Ip4)
		p.V4 = netip.AddrFrom4(a)
	}
	if v.Has6 != 0 {
		p.V6 = address(v.Ip6)
	}
	return p
}

// Pods reads all entries, by netns cookie.
func (m *Mesh) Pods() (map[uint64]Pod, error) {
	out := map[uint64]Pod{}
	var k uint64
	var v meshPod
	it := m.obj.Pods.Iterate()
	for it.Next(&k, &v) {
		out[k] = podOf(v)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read pods: %w", err)
	}
	return out, nil
}

// Pod reads one entry.
func (m *Mesh) Pod(cookie uint64) (Pod, bool, error) {
	var v meshPod
	err := m.obj.Pods.Lookup(cookie, &v)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return Pod{}, false, nil
	}
	if err != nil {
		return Pod{}, false, fmt.Errorf("read pod of namespace %d: %w", cookie, err)
	}
	return podOf(v), true, nil
}

// DeletePod removes a namespace's entry. A missing one is no error.
func (m *Mesh) DeletePod(cookie uint64) error {
	return errors.Join(gone(m.obj.Pods.Delete(cookie)), gone(m.obj.LegCount.Delete(cookie)), gone(m.obj.Budgets.Delete(cookie)))
}

// PutProxy tells the hooks that processes of this cgroup are the node's proxy.
func (m *Mesh) PutProxy(cgroup uint64) error {
	if err := m.obj.Proxies.Put(cgroup, uint32(1)); err != nil {
		return fmt.Errorf("put proxy cgroup %d: %w", cgroup, err)
	}
	return nil
}

// DeleteProxy takes that back.
func (m *Mesh) DeleteProxy(cgroup uint64) error { return gone(m.obj.Proxies.Delete(cgroup)) }

// Proxies lists the cgroup ids of proxies.
func (m *Mesh) Proxies() ([]uint64, error) {
	var out []uint64
	var k uint64
	var v uint32
	it := m.obj.Proxies.Iterate()
	for it.Next(&k, &v) {
		out = append(out, k)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read proxies: %w", err)
	}
	return out, nil
}

// ProbeMode says which connects of the node are probes.
type ProbeMode uint32

// The probe modes.
const (
	ProbeOff    ProbeMode = iota
	ProbeCgroup           // of one cgroup: the kubelet's
	ProbeNode             // of every process in the node's network namespace
)

// Settings apply to the whole node.
type Settings struct {
	HostCookie  uint64 // of the node's network namespace
	ProbeMode   ProbeMode
	ProbeCgroup uint64
	LegLimit    uint32 // live legs of one pod
}

// SetSettings replaces the settings.
func (m *Mesh) SetSettings(s Settings) error {
	v := meshSettings{HostCookie: s.HostCookie, ProbeCgroup: s.ProbeCgroup, ProbeMode: uint32(s.ProbeMode), LegLimit: s.LegLimit}
	if err := m.obj.Settings.Put(uint32(0), v); err != nil {
		return fmt.Errorf("put settings: %w", err)
	}
	return nil
}

func words(a netip.Addr) (w [4]uint32) {
	b := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[i*4:])
	}
	return w
}

func address(w [4]uint32) netip.Addr {
	var b [16]byte
	for i := range w {
		binary.NativeEndian.PutUint32(b[i*4:], w[i])
	}
	return netip.AddrFrom16(b).Unmap()
}

func gone(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}
