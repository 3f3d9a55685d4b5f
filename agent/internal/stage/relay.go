package stage

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/bpf"
)

// relayed takes one accepted connection to where it was going.
func (x *Proxy) relayed(p *served, kind bpf.Kind, c *net.TCPConn) {
	defer c.Close()
	src, dst := addrPort(c.RemoteAddr()), addrPort(c.LocalAddr())
	e := Event{Kind: [...]string{"in", "out", "hbone"}[kind], Pod: p.uid, Src: src.String(), Dst: dst.String()}
	p.use(1)
	defer p.use(-1)
	if kind == bpf.HBONE {
		x.note(e)
		echo(c, "hbone:"+p.uid)
		return
	}
	up, err := x.leg(p, kind, src, dst)
	if err != nil {
		e.Err = err.Error()
	}
	x.note(e)
	if err != nil {
		c.SetLinger(0) //nolint:errcheck // a plain close then
		return
	}
	defer x.legs.Delete(addrPort(up.LocalAddr()))
	defer up.Close()
	var both sync.WaitGroup
	both.Go(func() { pipe(up, c) })
	both.Go(func() { pipe(c, up) })
	both.Wait()
}

func pipe(to, from *net.TCPConn) {
	_, err := io.Copy(to, from)
	if err != nil {
		to.SetLinger(0) //nolint:errcheck // a plain close then
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite() //nolint:errcheck // the peer may be gone
}

// leg dials from the pod: outbound as the pod, inbound as the client, with the mark.
func (x *Proxy) leg(p *served, kind bpf.Kind, src, dst netip.AddrPort) (*net.TCPConn, error) {
	if _, own := x.legs.Load(src); own {
		return nil, errors.New("own leg came back")
	}
	if kind == bpf.Outbound {
		return dialIn(p.ns, Dial{To: dst.String()})
	}
	for range 100 {
		// Outside the ephemeral range: the client may have a connection with the same four numbers. One after
		// the other: the last ones may still be in TIME_WAIT.
		from := netip.AddrPortFrom(src.Addr(), uint16(2000+x.nextPort.Add(1)%30000))
		x.legs.Store(from, true)
		c, err := dialIn(p.ns, Dial{To: dst.String(), From: from.String(), Mark: int(p.mark), Transparent: true, Timeout: 20 * time.Second})
		if err == nil {
			return c, nil
		}
		x.legs.Delete(from)
		if !errors.Is(err, errInUse) {
			return nil, err
		}
	}
	return nil, errors.New("no free port for a leg")
}

func dialIn(ns *netns.NS, d Dial) (c *net.TCPConn, err error) {
	var fd int
	var dst netip.AddrPort
	err = ns.Do(func() error { // only the socket: waiting in there would cost a thread
		fd, dst, err = d.socket()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("in pod: %w", err)
	}
	return d.dialOn(fd, dst)
}
