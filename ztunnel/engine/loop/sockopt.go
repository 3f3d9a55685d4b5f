package loop

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop/poll"
)

// Keep-alive is Istio's: 180 s, 180 s, 9 probes.
const (
	keepAliveIdle     = 180 // seconds
	keepAliveInterval = 180 // seconds
	keepAliveProbes   = 9
)

// setUpLeg prepares a socket, or a listener, whose connections inherit it. A leg ends by a reset unless it
// is closed in order: if this process is killed, what was cut off must not look like the whole.
func setUpLeg(fd int) error {
	if err := netsock.SetReset(fd, true); err != nil {
		return fmt.Errorf("have socket reset at its end: %w", err)
	}
	for _, o := range []struct{ level, opt, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveIdle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveInterval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes},
	} {
		if err := netsock.SetInt(fd, o.level, o.opt, o.value); err != nil {
			return fmt.Errorf("set up socket: %w", err)
		}
	}
	return nil
}

// closeSocket closes in order, or by a reset.
func closeSocket(fd int, reset bool) {
	if !reset {
		_ = netsock.SetReset(fd, false)
	}
	netsock.Close(fd)
}

// tcpClose is the kernel's TCP_CLOSE: both ends have ended, and all that was sent has arrived.
const tcpClose = 7

// readInfo reports also whether the connection is over: then there is nothing left that a close could reset.
func readInfo(fd int) (_ engine.TCPInfo, over bool) {
	i, errno := poll.TCPInfo(fd)
	if errno != 0 {
		return engine.TCPInfo{}, false
	}
	return engine.TCPInfo{RTT: time.Duration(i.Rtt) * time.Microsecond, Retransmits: i.Total_retrans}, i.State == tcpClose
}
