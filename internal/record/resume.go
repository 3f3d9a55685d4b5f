package record

import (
	"crypto/tls"
	"errors"
	"os"
)

// feed hands session tickets back to the tls.Conn that made the handshake, as
// the records they came in: crypto/tls alone can turn them into sessions. It goes
// on until the first record that is none, since crypto/tls counts records too.
type feed struct {
	conn *tls.Conn
	b    *boundary
}

// Resume makes the server's session tickets go to conn's ClientSessionCache, as
// long as they come before anything else from the server, as those of all servers
// do. conn is the one that Take was called with, in the client's role. A ticket
// that crypto/tls does not like ends the connection.
//
// Config.VerifyConnection is called for resumed handshakes too, with the
// certificates of the session's first one: what may change while a session lives
// has to be checked there. A resumed peer proves that it made the session before,
// not who it is now: identities must share neither a cache nor a ticket key.
func (r *Reader) Resume(conn *tls.Conn) error {
	b, ok := conn.NetConn().(*boundary)
	if !ok || !b.taken || !r.client {
		return errors.New("resume: not a client's connection that was taken")
	}
	if r.seq == 0 {
		r.feed = &feed{conn: conn, b: b}
	}
	return nil
}

// keep copies a record before it is opened in place.
func (f *feed) keep(rec []byte) { f.b.in = append(f.b.in, rec...) }

// give lets crypto/tls read what was kept. more says that a message is not
// complete.
func (f *feed) give(more bool) error {
	if more {
		return nil
	}
	var one [1]byte
	_, err := f.conn.Read(one[:])
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return breach(AlertDecodeError, "session ticket is refused")
	}
	return nil
}

// given reads what was kept; at its end it answers as a connection whose
// deadline has passed, which crypto/tls takes for "later".
func (b *boundary) given(p []byte) (int, error) {
	if len(b.in) == 0 {
		b.in = nil
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, b.in)
	b.in = b.in[n:]
	return n, nil
}
