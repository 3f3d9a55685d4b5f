package netsock

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Near is the round trip below which a connection need not be paced. Nodes of one data centre are nearer.
const Near = time.Millisecond

// Unpace has an established connection with a round trip shorter than near send as its window allows. Where
// the system's congestion control is BBR, the kernel paces each connection by a timer (net/ipv4/tcp_bbr.c,
// sk_pacing_status), which on such a path costs a third of the CPU of bulk transfers. Elsewhere the
// system's choice stays.
func Unpace(fd int, near time.Duration) error {
	now, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		return fmt.Errorf("ask for congestion control: %w", err)
	}
	if !strings.HasPrefix(now, "bbr") {
		return nil
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return fmt.Errorf("ask for round trip: %w", err)
	}
	if time.Duration(info.Min_rtt)*time.Microsecond >= near {
		return nil
	}
	for _, c := range []string{"cubic", "reno"} { // reno is always there, and allowed to all
		if err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, c); err == nil {
			return nil
		}
	}
	return fmt.Errorf("set congestion control: %w", err)
}
