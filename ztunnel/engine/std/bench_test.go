package std

import (
	"io"
	"net"
	"net/netip"
	"testing"
)

// over runs f directly, over one plain relay, and over a tunnel between two engines.
func over(b *testing.B, app func(*net.TCPConn), f func(b *testing.B, to netip.AddrPort)) {
	b.Run("direct", func(b *testing.B) { f(b, serveTCP(b, app)) })
	b.Run("plain", func(b *testing.B) {
		_, to := plainSide(b, serveTCP(b, app))
		f(b, to)
	})
	b.Run("tunnel", func(b *testing.B) { f(b, newMesh(b, serveTCP(b, app)).start(b).out) })
}

func BenchmarkPingPong(b *testing.B) {
	over(b, echo, func(b *testing.B, to netip.AddrPort) {
		c := connect(b, to)
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

// BenchmarkConnect is connect, one byte there and back, close.
func BenchmarkConnect(b *testing.B) {
	over(b, echo, func(b *testing.B, to netip.AddrPort) {
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

func BenchmarkBulk(b *testing.B) {
	over(b, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, func(b *testing.B, to netip.AddrPort) {
		c := connect(b, to)
		buf := make([]byte, 1<<20)
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
