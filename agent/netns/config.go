package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What is set up in every enrolled namespace. The mark never crosses the pod's device, and the table
// and priority are unlikely to be another's; the rule only concerns marked packets.
const (
	Mark     = 0x6d0
	Mask     = 0xfff
	Table    = 1744
	Priority = 1744
)

// Addrs are a pod's addresses. Either may be the zero Addr.
type Addrs struct{ V4, V6 netip.Addr }

// Valid lists those that are set.
func (a Addrs) Valid() []netip.Addr {
	var out []netip.Addr
	for _, x := range []netip.Addr{a.V4, a.V6} {
		if x.IsValid() {
			out = append(out, x)
		}
	}
	return out
}

// sysctls must be 1: accepted sockets take the mark of their SYN, and resets without a socket that of
// the packet they answer, so that answers to the proxy's legs come back over lo. The first governs
// IPv6 too.
var sysctls = [...]string{"ipv4/tcp_fwmark_accept", "ipv4/fwmark_reflect", "ipv6/fwmark_reflect"}

// Sysctls are the values of the namespace's sysctls before enrolment, two bits each. The zero value
// says nothing about any.
type Sysctls uint32

const (
	sysctlKnown = 2
	sysctlOn    = 1
)

// Before reads the sysctls as they are, except those that saved knows from an earlier call. Keep the
// answer where it outlives this process, then Configure.
func (ns *NS) Before(a Addrs, saved Sysctls) (Sysctls, error) {
	err := ns.Do(func() (err error) {
		saved, err = readSysctls(saved, a.V6.IsValid())
		return err
	})
	return saved, err
}

// Configure puts rule, routes and sysctls into the namespace; it may be repeated.
func (ns *NS) Configure(a Addrs) error {
	return ns.Do(func() error {
		if err := setSysctls(a.V6.IsValid()); err != nil {
			return err
		}
		return eachFamily(a.Valid(), addFamily)
	})
}

// Missing is the first of the addresses that no device of the namespace has, or the zero Addr.
func (ns *NS) Missing(a Addrs) (missing netip.Addr, err error) {
	err = ns.Do(func() error {
		have, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("list addresses: %w", err)
		}
		for _, want := range a.Valid() {
			if !slices.ContainsFunc(have, func(h netlink.Addr) bool { return h.IP.Equal(want.AsSlice()) }) {
				missing = want
			}
		}
		return nil
	})
	return missing, err
}

// Deconfigure takes everything back.
func (ns *NS) Deconfigure(saved Sysctls) error {
	return ns.Do(func() error {
		both := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
		return errors.Join(eachFamily(both, removeFamily), restoreSysctls(saved))
	})
}

// Configured says whether any rule of ours is in the namespace.
func (ns *NS) Configured() (found bool, err error) {
	err = ns.Do(func() error {
		rules, err := netlink.RuleList(netlink.FAMILY_ALL)
		for _, r := range rules {
			found = found || r.Mark == Mark && r.Table == Table
		}
		return err
	})
	return found, err
}

// HasV6 says whether lo speaks IPv6: without it the pod's IPv6 cannot be captured.
func (ns *NS) HasV6() (ok bool) {
	err := ns.Do(func() error {
		b, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
		ok = err == nil && strings.TrimSpace(string(b)) == "0"
		return nil
	})
	return ok && err == nil
}

func readSysctls(saved Sysctls, v6 bool) (Sysctls, error) {
	for i, key := range sysctls {
		shift := 2 * i
		if strings.HasPrefix(key, "ipv6") && !v6 || saved>>shift&sysctlKnown != 0 {
			continue
		}
		b, err := os.ReadFile("/proc/sys/net/" + key)
		if err != nil {
			return saved, fmt.Errorf("read sysctl %s: %w", key, err)
		}
		saved |= sysctlKnown << shift
		if strings.TrimSpace(string(b)) != "0" {
			saved |= sysctlOn << shift
		}
	}
	return saved, nil
}

func setSysctls(v6 bool) error {
	for _, key := range sysctls {
		if strings.HasPrefix(key, "ipv6") && !v6 {
			continue
		}
		if err := os.WriteFile("/proc/sys/net/"+key, []byte("1"), 0o644); err != nil {
			return fmt.Errorf("write sysctl %s: %w", key, err)
		}
	}
	return nil
}

func restoreSysctls(saved Sysctls) error {
	var errs []error
	for i, key := range sysctls {
		if saved>>(2*i)&(sysctlKnown|sysctlOn) != sysctlKnown {
			continue // not ours, or it was on before
		}
		if err := os.WriteFile("/proc/sys/net/"+key, []byte("0"), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("restore sysctl %s: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

func eachFamily(addrs []netip.Addr, f func(h *netlink.Handle, lo int, a netip.Addr) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	var errs []error
	for _, a := range addrs {
		errs = append(errs, f(h, lo.Attrs().Index, a))
	}
	return errors.Join(errs...)
}

func addFamily(h *netlink.Handle, lo int, a netip.Addr) error {
	if err := h.RouteReplace(route(lo, a)); err != nil {
		return fmt.Errorf("add route for %s: %w", a, err)
	}
	if err := h.RuleAdd(rule(a)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add rule for %s: %w", a, err)
	}
	return nil
}

func removeFamily(h *netlink.Handle, lo int, a netip.Addr) error {
	var errs []error
	if err := h.RuleDel(rule(a)); !missing(err) {
		errs = append(errs, fmt.Errorf("remove rule: %w", err))
	}
	r := route(lo, a)
	r.Src = nil // whatever address it had
	if err := h.RouteDel(r); !missing(err) {
		errs = append(errs, fmt.Errorf("remove route: %w", err))
	}
	return errors.Join(errs...)
}

func missing(err error) bool {
	return err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EAFNOSUPPORT)
}

func rule(a netip.Addr) *netlink.Rule {
	r := netlink.NewRule()
	r.Family = family(a)
	r.Table, r.Priority, r.Mark = Table, Priority, Mark
	m := uint32(Mask)
	r.Mask = &m
	return r
}

// route is "local default dev lo table T src <pod>": without src a connect fails with ENETUNREACH.
func route(lo int, a netip.Addr) *netlink.Route {
	bits := a.BitLen()
	return &netlink.Route{
		Dst:       &net.IPNet{IP: make(net.IP, bits/8), Mask: net.CIDRMask(0, bits)},
		Scope:     netlink.SCOPE_HOST,
		Type:      unix.RTN_LOCAL,
		Table:     Table,
		LinkIndex: lo,
		Src:       net.IP(a.AsSlice()),
	}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
