package app

import (
	"fmt"
	"net"
	"time"
)

// udpLimit is the largest datagram that is echoed, in bytes.
const udpLimit = 64 << 10

// ListenUDP echoes datagrams on a port until the program ends.
func (c *Control) ListenUDP(a *PortRef, out *Listening) error {
	l, err := net.ListenUDP("udp", &net.UDPAddr{Port: a.Port})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() {
		buf := make([]byte, udpLimit)
		for {
			n, from, err := l.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if _, err := l.WriteToUDPAddrPort(buf[:n], from); err != nil {
				continue // the sender is gone: that is its affair
			}
		}
	}()
	out.Address = l.LocalAddr().String()
	return nil
}

// PingUDP sends a datagram on a connected socket and waits for the echo.
func (c *Control) PingUDP(a *DialArgs, _ *struct{}) error {
	x, err := net.DialTimeout("udp", a.Address, timeout(a.Timeout))
	if err != nil {
		return err
	}
	defer x.Close()
	if err := x.SetDeadline(time.Now().Add(timeout(a.Timeout))); err != nil {
		return err
	}
	if _, err := x.Write([]byte("ping")); err != nil {
		return err
	}
	got := make([]byte, 4)
	_, err = x.Read(got)
	return err
}
