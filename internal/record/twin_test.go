package record

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"testing"
)

var allSuites = []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}

// logged is a collector filled through its Write with random secrets of the
// suite's size; calling it again gives the same ones.
func logged(t testing.TB, id uint16) func() *Secrets {
	t.Helper()
	su, err := suiteByID(id)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 32+2*su.size)
	_, _ = rand.Read(b)
	return func() *Secrets {
		s := &Secrets{}
		for i, label := range []string{labelClient, labelServer} {
			if _, err := fmt.Fprintf(s, "%s %x %x\n", label, b[:32], b[32+i*su.size:][:su.size]); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
}

func finished(id uint16) tls.ConnectionState {
	return tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, CipherSuite: id}
}

func mustNew(t testing.TB, s *Secrets, id uint16, client bool) (*Reader, *Writer) {
	t.Helper()
	r, w, err := New(s, finished(id), client)
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// sealer makes records that a Writer would not.
type sealer struct{ half }

// newSealer seals what the other side of client sends.
func newSealer(t testing.TB, s *Secrets, id uint16, client bool) *sealer {
	t.Helper()
	_, w := mustNew(t, s, id, !client)
	return &sealer{w.half}
}

func (s *sealer) record(typ byte, p []byte, pad int) []byte {
	inner := append(append(append([]byte(nil), p...), typ), make([]byte, pad)...)
	return s.inner(inner)
}

func (s *sealer) inner(inner []byte) []byte {
	h := []byte{typeText, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(h[3:], uint16(len(inner)+tag))
	nonce, err := s.next()
	if err != nil {
		return h
	}
	return s.aead.Seal(h, nonce, inner, h)
}

func (s *sealer) keyUpdate(request byte) []byte {
	rec := s.record(typeHandshake, []byte{msgKeyUpdate, 0, 0, 1, request}, 0)
	if err := s.update(); err != nil {
		return nil
	}
	return rec
}

// ticket is a NewSessionTicket message with a ticket of n bytes.
func ticket(n int) []byte {
	body := []byte{0, 0, 14, 16, 1, 2, 3, 4, 1, 0, byte(n >> 8), byte(n)}
	body = append(append(body, make([]byte, n)...), 0, 0)
	return append([]byte{msgSessionTicket, 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

// open collects the text that Open gives for b.
func open(r *Reader, b []byte) (string, int, error) {
	var got bytes.Buffer
	used, err := r.Open(b, func(p []byte) error { got.Write(p); return nil })
	return got.String(), used, err
}

// drain seals and takes all that w has to send.
func drain(w *Writer) []byte {
	w.Seal()
	b := append([]byte(nil), w.Pending()...)
	w.Sent(len(b))
	w.Release()
	return b
}

func write(w *Writer, p []byte) {
	for len(p) > 0 {
		n := copy(w.Space(1), p)
		w.Advance(n)
		p = p[n:]
	}
}
