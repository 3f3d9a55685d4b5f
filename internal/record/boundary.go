package record

import (
	"encoding/binary"
	"net"
	"time"
)

// boundary is the net.Conn below crypto/tls. While the handshake runs it reads
// from the connection, and no Read passes the end of a record. After it was
// taken, it is cut off from the connection: what crypto/tls writes is kept here,
// and what it reads is given here.
type boundary struct {
	net.Conn
	head [header]byte
	have int // bytes of head
	body int // bytes left of the record

	taken         bool
	local, remote net.Addr // once taken
	in, out       []byte
}

// NewBoundary wraps the connection below a tls.Conn, so that crypto/tls reads no
// further than the record it waits for: when the handshake ends, all that the
// peer sent after it is still in c. The cost is two reads for each record of the
// handshake.
func NewBoundary(c net.Conn) net.Conn { return &boundary{Conn: c} }

// Read reads the rest of a record's header, or of its body.
func (b *boundary) Read(p []byte) (int, error) {
	if b.taken {
		return b.given(p)
	}
	if b.body > 0 {
		n, err := b.Conn.Read(p[:min(len(p), b.body)])
		b.body -= n
		return n, err
	}
	n, err := b.Conn.Read(p[:min(len(p), header-b.have)])
	copy(b.head[b.have:], p[:n])
	if b.have += n; b.have == header {
		b.body, b.have = int(binary.BigEndian.Uint16(b.head[3:])), 0
	}
	return n, err
}

// Write writes to the connection, or keeps p.
func (b *boundary) Write(p []byte) (int, error) {
	if b.taken {
		b.out = append(b.out, p...)
		return len(p), nil
	}
	return b.Conn.Write(p)
}

// Close closes the connection, if it is still ours.
func (b *boundary) Close() error {
	if b.taken {
		return nil
	}
	return b.Conn.Close()
}

// take cuts it off from the connection, which it forgets.
func (b *boundary) take() {
	b.local, b.remote = b.Conn.LocalAddr(), b.Conn.RemoteAddr()
	b.Conn, b.taken = nil, true
}

// LocalAddr is the connection's.
func (b *boundary) LocalAddr() net.Addr {
	if b.taken {
		return b.local
	}
	return b.Conn.LocalAddr()
}

// RemoteAddr is the connection's: crypto/tls may keep sessions under it.
func (b *boundary) RemoteAddr() net.Addr {
	if b.taken {
		return b.remote
	}
	return b.Conn.RemoteAddr()
}

// SetDeadline, SetReadDeadline and SetWriteDeadline leave a connection alone
// that is no longer ours: crypto/tls sets deadlines when it closes.
func (b *boundary) SetDeadline(t time.Time) error {
	if b.taken {
		return nil
	}
	return b.Conn.SetDeadline(t)
}

func (b *boundary) SetReadDeadline(t time.Time) error {
	if b.taken {
		return nil
	}
	return b.Conn.SetReadDeadline(t)
}

func (b *boundary) SetWriteDeadline(t time.Time) error {
	if b.taken {
		return nil
	}
	return b.Conn.SetWriteDeadline(t)
}
