package zds

import (
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// Bounds on what an agent sends.
const (
	maxPacket = 4096 // bytes; version 1 says 1024
	maxFDs    = 16   // more than any request carries, so that a wrong number is seen and closed
	maxName   = 253  // bytes of a name, as Kubernetes has it
	maxAddrs  = 16
)

// ParseRequest reads a packet that came with fds descriptors, which it does not touch, and checks
// everything that can be checked without them.
func ParseRequest(b []byte, fds int) (*pb.WorkloadRequest, error) {
	var m pb.WorkloadRequest
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: request: %w", ErrProtocol, err)
	}
	want := 0
	var err error
	switch p := m.GetPayload().(type) {
	case *pb.WorkloadRequest_Add:
		want, err = checkAdd(p.Add)
	case *pb.WorkloadRequest_Del:
		err = checkUID(p.Del.GetUid())
	case *pb.WorkloadRequest_Keep:
		err = checkUID(p.Keep.GetUid())
	case *pb.WorkloadRequest_ReturnListeners:
		err = checkUID(p.ReturnListeners.GetUid())
	case *pb.WorkloadRequest_Retire:
		err = checkUID(p.Retire.GetUid())
	case *pb.WorkloadRequest_Query:
		err = checkUID(p.Query.GetUid())
	case *pb.WorkloadRequest_Inherit:
		if p.Inherit.GetHasState() {
			want = 1
		}
	case *pb.WorkloadRequest_OpenDirect:
		want = 2
	case *pb.WorkloadRequest_SnapshotSent, *pb.WorkloadRequest_Drain:
	default:
		err = fmt.Errorf("%w: request of an unknown kind", ErrProtocol)
	}
	if err == nil && fds != want {
		err = fmt.Errorf("%w: %d descriptors, want %d", ErrProtocol, fds, want)
	}
	if err != nil {
		return nil, err
	}
	return &m, nil
}

func checkUID(uid string) error {
	if uid == "" || len(uid) > maxName {
		return fmt.Errorf("%w: uid of %d bytes", ErrProtocol, len(uid))
	}
	return nil
}

// checkAdd returns how many descriptors the request needs. A version 1 agent sends no listeners: the
// proxy would have to make them, which this one does not.
func checkAdd(m *pb.AddWorkload) (fds int, err error) {
	if err := checkUID(m.GetUid()); err != nil {
		return 0, err
	}
	if m.GetListeners() == nil {
		return 0, fmt.Errorf("%w: pod %q without listeners: this proxy needs version 2 of ZDS", ErrProtocol, m.GetUid())
	}
	info := m.GetWorkloadInfo()
	for _, s := range []string{info.GetName(), info.GetNamespace(), info.GetServiceAccount()} {
		if s == "" || len(s) > maxName {
			return 0, fmt.Errorf("%w: pod %q: name, namespace and service account are required, up to %d bytes", ErrProtocol, m.GetUid(), maxName)
		}
	}
	if _, err := addresses(info.GetAddresses()); err != nil {
		return 0, fmt.Errorf("pod %q: %w", m.GetUid(), err)
	}
	return 1 + len(Slots(m.GetListeners().GetV6())), nil
}

func addresses(list [][]byte) ([]netip.Addr, error) {
	if len(list) == 0 || len(list) > maxAddrs {
		return nil, fmt.Errorf("%w: %d addresses, want 1 to %d", ErrProtocol, len(list), maxAddrs)
	}
	out := make([]netip.Addr, 0, len(list))
	for _, b := range list {
		a, ok := netip.AddrFromSlice(b)
		a = a.Unmap()
		if !ok || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
			return nil, fmt.Errorf("%w: address %x", ErrProtocol, b)
		}
		out = append(out, a)
	}
	return out, nil
}

// pod puts a checked request and its descriptors together.
func pod(m *pb.AddWorkload, fds []int) (Pod, error) {
	info := m.GetWorkloadInfo()
	addrs, err := addresses(info.GetAddresses())
	if err != nil {
		return Pod{}, err
	}
	return Pod{
		UID: m.GetUid(), Name: info.GetName(), Namespace: info.GetNamespace(), ServiceAccount: info.GetServiceAccount(),
		Addrs:   addrs,
		Sockets: Sockets{V6: m.GetListeners().GetV6(), Mark: m.GetListeners().GetMark(), NetNS: fds[0], Listeners: fds[1:]},
	}, nil
}
