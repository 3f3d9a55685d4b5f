package record

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// maxBefore is how many records crypto/tls may have sealed with the application
// keys in its handshake: one session ticket today.
const maxBefore = 16

// Take makes both directions of conn, whose handshake is done and which was made
// over NewBoundary with s as its KeyLogWriter; client says our role. After it the
// connection below is the caller's alone: conn can neither read nor write it, and
// closing conn does not close it. It wipes s and fails where New does.
//
// A server of crypto/tls seals its session tickets with the application keys
// before the handshake returns, and shows the number to nobody. So Take lets conn
// seal one more record, a close_notify that goes nowhere, and finds the number
// that opens it.
func Take(conn *tls.Conn, s *Secrets, client bool) (*Reader, *Writer, error) {
	b, ok := conn.NetConn().(*boundary)
	if !ok {
		s.Wipe()
		return nil, nil, errors.New("take over TLS 1.3: connection is not over a boundary")
	}
	r, w, err := New(s, conn.ConnectionState(), client)
	if err != nil {
		return nil, nil, err
	}
	b.take()
	err = conn.CloseWrite()
	if err == nil {
		err = w.agree(b.out)
	}
	if err != nil {
		r.Wipe()
		w.Wipe()
		return nil, nil, fmt.Errorf("take over TLS 1.3: probe: %w", err)
	}
	b.out = nil
	return r, w, nil
}

// agree sets the sequence number to that of the record rec, which crypto/tls
// sealed with this direction's key.
func (w *Writer) agree(rec []byte) error {
	if _, err := whole(rec); err != nil || len(rec) < overhead {
		return errors.New("probe is no record")
	}
	for n := range uint64(maxBefore) {
		w.seq = n
		nonce, err := w.next()
		if err != nil {
			return err
		}
		if _, err := w.aead.Open(nil, nonce, rec[header:], rec[:header]); err == nil {
			w.seq = n
			return nil
		}
	}
	return errors.New("sequence number of crypto/tls not found")
}
