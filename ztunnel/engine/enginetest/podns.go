package enginetest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Mark is what legs to applications carry in a namespace of PodNS.
const (
	Mark      = 0x7a50000
	markMask  = 0x7ff0000
	markTable = 7391
)

// PodAddrs are the addresses in a namespace of PodNS.
func PodAddrs() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("10.77.0.5"), netip.MustParseAddr("fd77::5")}
}

// Settle puts the pod into a namespace of its own with what the agent sets up there: addresses, a rule
// and a table that bring marked packets back to lo, and the sysctls that mark answers. It skips the test
// without root.
func Settle(t testing.TB, p *engine.Pod) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	var ns *os.File
	err := away(func() (err error) { ns, err = makeNS(); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	p.NetNS, p.Mark, p.Addrs = ns, Mark, PodAddrs()
}

// Inside runs f in the pod's namespace, on a goroutine of its own: sockets that f makes belong there.
func Inside(p *engine.Pod, f func() error) error {
	return away(func() error {
		if err := unix.Setns(int(p.NetNS.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter pod's namespace: %w", err)
		}
		return f()
	})
}

// ListenIn listens in the pod's namespace.
func ListenIn(t testing.TB, p *engine.Pod, a netip.Addr) *net.TCPListener {
	t.Helper()
	var ln net.Listener
	err := Inside(p, func() (err error) {
		ln, err = net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}

// away runs f on a thread whose namespace f may change.
func away(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // unlocked only at home; else the thread ends with the goroutine
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		err = f()
		back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET)
		if back == nil {
			runtime.UnlockOSThread()
		}
		done <- errors.Join(err, back)
	}()
	return <-done
}

func makeNS() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, err
	}
	for _, name := range []string{"ipv4/tcp_fwmark_accept", "ipv4/fwmark_reflect", "ipv6/fwmark_reflect"} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0); err != nil {
			return nil, err
		}
	}
	for _, a := range PodAddrs() {
		if err := setUp(lo, a); err != nil {
			return nil, fmt.Errorf("set up %s: %w", a, err)
		}
	}
	return os.Open("/proc/thread-self/ns/net")
}

func setUp(lo netlink.Link, a netip.Addr) error {
	bits, all, family := 32, "0.0.0.0/0", netlink.FAMILY_V4
	if a.Is6() {
		bits, all, family = 128, "::/0", netlink.FAMILY_V6
	}
	own := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, bits)}
	if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: own, Flags: unix.IFA_F_NODAD}); err != nil {
		return err
	}
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table, rule.Priority = family, Mark, markTable, 100
	mask := uint32(markMask)
	rule.Mask = &mask
	if err := netlink.RuleAdd(rule); err != nil {
		return err
	}
	_, dst, _ := net.ParseCIDR(all)
	return netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Src: a.AsSlice(), Table: markTable,
		Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Family: family})
}
