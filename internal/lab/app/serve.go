package app

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// serve is one connection. Errors are the client's to see.
func (l *listener) serve(x *net.TCPConn) {
	switch l.args.Kind {
	case Banner:
		l.banner(x)
		l.echo(x)
	case Echo:
		l.echo(x)
	case Sink:
		l.sink(x, x)
	case Slow:
		l.sink(x, &slowReader{x, l.args.Rate})
	case Source:
		if writePattern(x, l.args.Size) == nil {
			x.CloseWrite()
			l.drain(x)
		}
	case BulkServer:
		l.bulk(x)
	case HalfServer:
		l.banner(x)
		x.CloseWrite()
		l.drain(x)
	case Resetter:
		x.SetLinger(0)
	case Mute:
		l.drain(x)
	case Closer, HTTP:
	}
}

func (l *listener) banner(x net.Conn) {
	fmt.Fprintf(x, "%s %s %s\n", x.RemoteAddr(), x.LocalAddr(), l.args.Name)
}

// counted counts as the bytes come, so that Stats is right while a connection lives.
type counted struct {
	r io.Reader
	l *listener
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.l.got(int64(n))
	return n, err
}

func (l *listener) echo(x *net.TCPConn) {
	if _, err := io.Copy(x, counted{x, l}); err == nil {
		x.CloseWrite()
	}
}

func (l *listener) drain(x net.Conn) { io.Copy(io.Discard, counted{x, l}) }

func (l *listener) sink(x *net.TCPConn, r io.Reader) {
	h := sha256.New()
	n, err := io.Copy(h, counted{r, l})
	if err == nil {
		fmt.Fprintf(x, "%d %x\n", n, h.Sum(nil))
	}
}

// bulk reads how many bytes the client wants, sends them while it reads, then answers the digest of
// what it read.
func (l *listener) bulk(x *net.TCPConn) {
	var want [8]byte
	if _, err := io.ReadFull(x, want[:]); err != nil {
		return
	}
	digest := make(chan []byte, 1)
	go func() {
		h := sha256.New()
		if _, err := io.Copy(h, counted{x, l}); err != nil {
			close(digest)
			return
		}
		digest <- h.Sum(nil)
	}()
	if writePattern(x, int64(binary.BigEndian.Uint64(want[:]))) != nil {
		return
	}
	if d, ok := <-digest; ok {
		x.Write(d)
	}
}

// slowReader reads rate bytes a second in small bites.
type slowReader struct {
	r    io.Reader
	rate int
}

func (s *slowReader) Read(p []byte) (int, error) {
	bite := max(s.rate/20, 1)
	time.Sleep(50 * time.Millisecond)
	return s.r.Read(p[:min(len(p), bite)])
}

// pattern is bytes that are the same for every reader and compress badly.
type pattern struct{ state uint64 }

func newPattern() *pattern { return &pattern{0x9e3779b97f4a7c15} }

func (p *pattern) Read(b []byte) (int, error) {
	for i := 0; i < len(b); i += 8 {
		p.state ^= p.state << 13
		p.state ^= p.state >> 7
		p.state ^= p.state << 17
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], p.state)
		copy(b[i:], w[:])
	}
	return len(b), nil
}

// writePattern writes n bytes in chunks of 64 KiB, so that readers need not know the chunks' borders
// except for this size.
func writePattern(w io.Writer, n int64) error {
	p, buf := newPattern(), make([]byte, 64<<10)
	for n > 0 {
		b := buf[:min(n, int64(len(buf)))]
		p.Read(b) // never fails
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("write pattern: %w", err)
		}
		n -= int64(len(b))
	}
	return nil
}

var errPattern = errors.New("other bytes than were sent")

// readPattern checks the next n bytes.
func readPattern(r io.Reader, n int64) error {
	p, want, got := newPattern(), make([]byte, 64<<10), make([]byte, 64<<10)
	for n > 0 {
		w, g := want[:min(n, int64(len(want)))], got[:min(n, int64(len(got)))]
		p.Read(w) // never fails
		if _, err := io.ReadFull(r, g); err != nil {
			return fmt.Errorf("read pattern: %w", err)
		}
		if string(w) != string(g) {
			return errPattern
		}
		n -= int64(len(g))
	}
	return nil
}
