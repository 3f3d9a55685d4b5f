package istio

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/peers/nft"
)

const (
	markOfProxy = 0x539 // of the proxy's own sockets
	markOfReply = 0x111 // of what answers them
	markMask    = 0xfff
	replyTable  = 100
)

// rules are those of Istio's CNI in a pod, IPv4 only: what the pod opens goes to 15001, what comes in to
// 15006, and the answers to a proxy that has the client's address come back to it.
var rules = fmt.Sprintf(`table ip istio {
	chain mangle_prerouting {
		type filter hook prerouting priority mangle
		meta mark & %[3]d == %[1]d ct mark set %[2]d
	}
	chain mangle_output {
		type route hook output priority mangle
		ct mark & %[3]d == %[2]d meta mark set ct mark
	}
	chain prerouting {
		type nat hook prerouting priority dstnat
		ip daddr != 127.0.0.1 tcp dport != 15008 meta mark & %[3]d != %[1]d redirect to :15006
	}
	chain output {
		type nat hook output priority -100
		meta l4proto tcp meta mark & %[3]d == %[2]d accept
		ip daddr != 127.0.0.1 oifname "lo" accept
		ip daddr != 127.0.0.1 meta l4proto tcp meta mark & %[3]d != %[1]d redirect to :15001
	}
}
`, markOfProxy, markOfReply, markMask)

func redirect(ctx context.Context, p *lab.Pod) error {
	if err := nft.Apply(ctx, p.Host, rules); err != nil {
		return err
	}
	return p.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find lo of %s: %w", p.FullName(), err)
		}
		r := netlink.NewRule()
		mask := uint32(markMask)
		r.Family, r.Mark, r.Mask, r.Table, r.Priority = unix.AF_INET, markOfReply, &mask, replyTable, 32764
		all := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		local := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: all, Table: replyTable, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST}
		if err := errors.Join(netlink.RuleAdd(r), netlink.RouteAdd(local)); err != nil {
			return fmt.Errorf("route replies of %s: %w", p.FullName(), err)
		}
		return nil
	})
}
