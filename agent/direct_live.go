package agent

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ambitmesh/ambit/agent/sockdiag"
	"github.com/ambitmesh/ambit/bpf"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// addLive adds the bytes of running connections.
func (d *directs) addLive(counts map[bpf.Account]bpf.Counts) error {
	return d.eachLive(func(f *bpf.DirectFlow, s sockdiag.Socket) {
		if n, known := counts[f.Account]; known {
			sent, received := s.Bytes()
			n.Sent, n.Received = n.Sent+sent, n.Received+received
			counts[f.Account] = n
		}
	})
}

// eachLive calls f for the running connections that the calling pods' kernels know of.
func (d *directs) eachLive(f func(*bpf.DirectFlow, sockdiag.Socket)) error {
	flows, err := d.a.mesh.DirectFlows()
	if err != nil {
		return err
	}
	type ends struct{ from, to netip.AddrPort }
	of := map[uint64]map[ends]*bpf.DirectFlow{}
	for i := range flows {
		x := &flows[i]
		if of[x.Account.Netns] == nil {
			of[x.Account.Netns] = map[ends]*bpf.DirectFlow{}
		}
		of[x.Account.Netns][ends{x.From, x.To}] = x
	}
	by := d.byCookie()
	for cookie, mine := range of {
		p := by[cookie]
		if p == nil {
			continue
		}
		err := p.diag.Each(func(s sockdiag.Socket) {
			if x := mine[ends{s.From, s.To}]; x != nil {
				f(x, s)
			}
		})
		if err != nil {
			return fmt.Errorf("pod %s: %w", p.uid, err)
		}
	}
	return nil
}

// live tells of running connections packet by packet, as read does of accounts.
func (d *directs) live(from uint32) (*response, error) {
	if from == 0 {
		var err error
		if d.running, err = d.look(); err != nil {
			return nil, err
		}
	}
	at := min(int(from), len(d.running))
	to := min(at+tallies, len(d.running))
	return &response{Flows: d.running[at:to], More: to < len(d.running)}, nil
}

func (d *directs) look() (list []*pb.DirectFlow, err error) {
	mono, err := bpf.Monotonic()
	if err != nil {
		return nil, err
	}
	now, by := time.Now().UnixNano(), d.byCookie()
	err = d.eachLive(func(f *bpf.DirectFlow, s sockdiag.Socket) {
		source, _ := d.name(by, f.Account.Netns)
		dest, _ := d.name(by, f.Account.Way.Netns)
		if source == "" || dest == "" {
			return
		}
		sent, received := s.Bytes()
		list = append(list, &pb.DirectFlow{
			Call: callOf(f.Account, source, dest), Port: uint32(f.From.Port()), AtNs: now, LifeNs: (mono - f.Opened).Nanoseconds(),
			Sent: sent, Received: received, Id: f.Socket,
		})
	})
	return list, err
}
