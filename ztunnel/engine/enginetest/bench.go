package enginetest

import (
	"io"
	"net"
	"net/netip"
	"testing"
)

// Bench measures one kind of engine: directly, over one plain relay, and over a tunnel between two.
func Bench(b *testing.B, m Make) {
	by := engines{client: m, server: m}
	b.Run("PingPong", by.benchPingPong)
	b.Run("Connect", by.benchConnect)
	b.Run("Bulk", by.benchBulk)
	b.Run("Handshake", by.benchHandshake)
}

func (by engines) over(b *testing.B, app func(*net.TCPConn), f func(b *testing.B, to netip.AddrPort)) {
	b.Run("direct", func(b *testing.B) { f(b, ServeTCP(b, app)) })
	b.Run("plain", func(b *testing.B) {
		_, to := by.plainSide(b, ServeTCP(b, app))
		f(b, to)
	})
	b.Run("tunnel", func(b *testing.B) { f(b, by.newMesh(b, ServeTCP(b, app)).start(b).out) })
}

func (by engines) benchPingPong(b *testing.B) {
	by.over(b, Echo, func(b *testing.B, to netip.AddrPort) {
		c := Connect(b, to)
		buf := make([]byte, 1024)
		b.SetBytes(2 * 1024)
		for b.Loop() {
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchConnect is connect, one byte there and back, close.
func (by engines) benchConnect(b *testing.B) {
	by.over(b, Echo, func(b *testing.B, to netip.AddrPort) {
		buf := make([]byte, 1)
		for b.Loop() {
			c, err := net.Dial("tcp", to.String())
			if err != nil {
				b.Fatal(err)
			}
			_, err = c.Write(buf)
			if err == nil {
				_, err = io.ReadFull(c, buf)
			}
			if err != nil {
				b.Fatal(err)
			}
			_ = c.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: ports are few
			c.Close()
		}
	})
}

func (by engines) benchBulk(b *testing.B) {
	by.over(b, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, func(b *testing.B, to netip.AddrPort) {
		c := Connect(b, to)
		buf := make([]byte, 1<<20)
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
