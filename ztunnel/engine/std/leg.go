package std

import (
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// leg is one side of a relay.
type leg interface {
	io.Writer
	copyTo(dst leg, w *counter) error // until the leg's end
	CloseWrite() error
	close() // in order
	cut()   // by a reset. The first of close and cut counts.
}

// keepAlive is Istio's: 180 s, 180 s, 9 probes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 180 * time.Second, Interval: 180 * time.Second, Count: 9}

// tcpLeg is a socket.
type tcpLeg struct {
	*net.TCPConn
	once    sync.Once
	info    engine.TCPInfo // set when the leg is closed
	release func()         // called when the leg is closed, if not nil
}

// newTCPLeg has the leg end by a reset unless it is closed in order: if this process is killed, what was
// cut off must not look like the whole.
func newTCPLeg(c *net.TCPConn) *tcpLeg {
	_ = c.SetKeepAliveConfig(keepAlive) // TCP_NODELAY is net's default
	_ = c.SetLinger(0)
	return &tcpLeg{TCPConn: c}
}

// Close is for those who know the leg as a net.Conn.
func (l *tcpLeg) Close() error { l.end(false); return nil }

func (l *tcpLeg) close() { l.end(false) }
func (l *tcpLeg) cut()   { l.end(true) }

func (l *tcpLeg) end(reset bool) {
	l.once.Do(func() {
		l.info = readInfo(l.TCPConn)
		if !reset {
			_ = l.SetLinger(-1)
		}
		_ = l.TCPConn.Close()
		if l.release != nil {
			l.release()
		}
	})
}

func readInfo(c *net.TCPConn) engine.TCPInfo {
	var out engine.TCPInfo
	raw, err := c.SyscallConn()
	if err != nil {
		return out
	}
	_ = raw.Control(func(fd uintptr) {
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			out = engine.TCPInfo{RTT: time.Duration(i.Rtt) * time.Microsecond, Retransmits: i.Total_retrans}
		}
	})
	return out
}

// streamLeg is a tunnel.
type streamLeg struct {
	*hbone.Stream
	once sync.Once
}

func (l *streamLeg) close() { l.once.Do(func() { _ = l.Close() }) }

// cut resets as RFC 9113 8.5 says for a broken TCP connection.
func (l *streamLeg) cut() {
	l.once.Do(func() {
		l.Reset(http2.ErrCodeConnect)
		_ = l.Close()
	})
}

func (l *streamLeg) refuse(status int) {
	_ = l.Respond(status)
	l.close()
}

// copyTo lends the tunnel's own buffers to dst.
func (l *streamLeg) copyTo(dst leg, w *counter) error {
	w.Writer = dst
	_, err := l.WriteTo(w)
	return err
}
