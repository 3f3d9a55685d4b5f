package record

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// breachCase makes what a peer sends; alert is what the Reader must end with, or
// one of the constants below.
type breachCase struct {
	name  string
	alert int
	make  func(s *sealer) []byte
}

const (
	goesOn   = -1
	closed   = -2
	alertEnd = -3
)

func join(recs ...[]byte) []byte { return bytes.Join(recs, nil) }

func repeat(n int, f func() []byte) []byte {
	var b []byte
	for range n {
		b = append(b, f()...)
	}
	return b
}

func breaches() []breachCase {
	return []breachCase{
		{"text", goesOn, func(s *sealer) []byte { return s.record(typeText, []byte("x"), 0) }},
		{"full text", goesOn, func(s *sealer) []byte { return s.record(typeText, make([]byte, MaxText), 0) }},
		{"text and padding fill the record", goesOn, func(s *sealer) []byte { return s.record(typeText, []byte("x"), MaxText-1) }},
		{"one byte of padding too many", AlertRecordOverflow, func(s *sealer) []byte { return s.record(typeText, []byte("x"), MaxText) }},
		{"one byte of text too many", AlertRecordOverflow, func(s *sealer) []byte { return s.record(typeText, make([]byte, MaxText+1), 0) }},
		{"most ciphertext", AlertRecordOverflow, func(s *sealer) []byte { return s.inner(make([]byte, maxCipherText-tag)) }},
		{"too much ciphertext", AlertRecordOverflow, func(*sealer) []byte { return []byte{typeText, 3, 3, 0x41, 1} }},
		{"nothing but padding", AlertUnexpectedMessage, func(s *sealer) []byte { return s.inner(make([]byte, 9)) }},
		{"nothing", AlertBadRecordMAC, func(s *sealer) []byte { return s.inner(nil) }},
		{"type 0 after text", goesOn, func(s *sealer) []byte { return s.inner([]byte{'x', typeText, 0, 0}) }},
		{"content type 24", AlertUnexpectedMessage, func(s *sealer) []byte { return s.record(24, []byte("x"), 0) }},
		{"protected change_cipher_spec", AlertUnexpectedMessage, func(s *sealer) []byte { return s.record(typeChangeCipherSpec, []byte{1}, 0) }},
		{"bare change_cipher_spec", AlertUnexpectedMessage, func(*sealer) []byte { return []byte{typeChangeCipherSpec, 3, 3, 0, 1, 1} }},
		{"bare alert", AlertUnexpectedMessage, func(*sealer) []byte { return []byte{typeAlert, 3, 3, 0, 2, 2, 80} }},
		{"bare handshake", AlertUnexpectedMessage, func(*sealer) []byte { return []byte{typeHandshake, 3, 3, 0, 4, 24, 0, 0, 0} }},
		{"16 empty", goesOn, func(s *sealer) []byte { return repeat(16, func() []byte { return s.record(typeText, nil, 3) }) }},
		{"17 empty", AlertUnexpectedMessage, func(s *sealer) []byte { return repeat(17, func() []byte { return s.record(typeText, nil, 0) }) }},
		{"empty and text in turns", goesOn, func(s *sealer) []byte {
			return repeat(100, func() []byte { return join(s.record(typeText, nil, 0), s.record(typeText, []byte("x"), 0)) })
		}},
		{"17 key updates", AlertUnexpectedMessage, func(s *sealer) []byte { return repeat(17, func() []byte { return s.keyUpdate(1) }) }},
		{"key updates, each with a byte", AlertUnexpectedMessage, func(s *sealer) []byte { return updates(s, updateBurst+1, 1) }},
		{"as many as may be", goesOn, func(s *sealer) []byte { return updates(s, updateBurst, 1) }},
		{"key updates, each with 64 records", goesOn, func(s *sealer) []byte { return updates(s, 4*updateBurst, updateRecords) }},
		{"17 user_canceled", AlertUnexpectedMessage, func(s *sealer) []byte {
			return repeat(17, func() []byte { return s.record(typeAlert, []byte{1, AlertUserCanceled}, 0) })
		}},
		{"close_notify", closed, func(s *sealer) []byte { return s.record(typeAlert, []byte{1, 0}, 0) }},
		{"bytes after close_notify", closed, func(s *sealer) []byte { return join(s.record(typeAlert, []byte{1, 0}, 0), []byte{1, 2, 3}) }},
		{"alert", alertEnd, func(s *sealer) []byte { return s.record(typeAlert, []byte{2, 42}, 0) }},
		{"alert with a warning's level", alertEnd, func(s *sealer) []byte { return s.record(typeAlert, []byte{1, 42}, 0) }},
		{"empty alert", AlertDecodeError, func(s *sealer) []byte { return s.record(typeAlert, nil, 0) }},
		{"two alerts in a record", AlertDecodeError, func(s *sealer) []byte { return s.record(typeAlert, []byte{1, 90, 1, 0}, 0) }},
		{"key update", goesOn, func(s *sealer) []byte { return join(s.keyUpdate(0), s.record(typeText, []byte("x"), 0)) }},
		{"key update of no such kind", AlertIllegalParameter, func(s *sealer) []byte { return s.keyUpdate(2) }},
		{"key update of two bytes", AlertDecodeError, func(s *sealer) []byte { return s.record(typeHandshake, []byte{24, 0, 0, 2, 0, 0}, 0) }},
		{"key update that is not last", AlertUnexpectedMessage, func(s *sealer) []byte {
			return s.record(typeHandshake, []byte{24, 0, 0, 1, 0, 24, 0, 0, 1, 0}, 0)
		}},
		{"key update in two records", goesOn, func(s *sealer) []byte {
			a, b := s.record(typeHandshake, []byte{24, 0}, 0), s.record(typeHandshake, []byte{0, 1, 0}, 0)
			_ = s.update()
			return join(a, b, s.record(typeText, []byte("x"), 0))
		}},
		{"text within a key update", AlertUnexpectedMessage, func(s *sealer) []byte {
			return join(s.record(typeHandshake, []byte{24, 0}, 0), s.record(typeText, []byte("x"), 0))
		}},
		{"empty handshake", AlertUnexpectedMessage, func(s *sealer) []byte { return s.record(typeHandshake, nil, 0) }},
		{"old key after a key update", AlertBadRecordMAC, func(s *sealer) []byte {
			return join(s.record(typeHandshake, []byte{24, 0, 0, 1, 0}, 0), s.record(typeText, []byte("x"), 0))
		}},
		{"two tickets", goesOn, func(s *sealer) []byte { return join(s.record(typeHandshake, join(ticket(9), ticket(2)), 0)) }},
		{"ticket in pieces", goesOn, func(s *sealer) []byte {
			m := ticket(40_000)
			return join(s.record(typeHandshake, m[:3], 0), s.record(typeHandshake, m[3:16000], 0),
				s.record(typeHandshake, m[16000:32000], 0), s.record(typeHandshake, m[32000:], 0), s.record(typeText, []byte("x"), 0))
		}},
		{"17 tickets", AlertUnexpectedMessage, func(s *sealer) []byte {
			return repeat(17, func() []byte { return s.record(typeHandshake, ticket(1), 0) })
		}},
		{"message too long", AlertDecodeError, func(s *sealer) []byte { return s.record(typeHandshake, []byte{4, 1, 0, 1}, 0) }},
		{"certificate request", AlertUnexpectedMessage, func(s *sealer) []byte { return s.record(typeHandshake, []byte{13, 0, 0, 0}, 0) }},
		{"start of a client hello", AlertUnexpectedMessage, func(s *sealer) []byte { return s.record(typeHandshake, []byte{1}, 0) }},
	}
}

// updates is n key updates, each after some records.
func updates(s *sealer, n, records int) []byte {
	return repeat(n, func() []byte {
		return append(repeat(records, func() []byte { return s.record(typeText, []byte("x"), 0) }), s.keyUpdate(1)...)
	})
}

func TestReaderBreaches(t *testing.T) {
	for _, id := range allSuites {
		for _, c := range breaches() {
			t.Run(c.name, func(t *testing.T) {
				s := logged(t, id)
				r, _ := mustNew(t, s(), id, true)
				b := c.make(newSealer(t, s(), id, true))
				_, used, err := open(r, b)
				check(t, c.alert, err)
				if c.alert == goesOn && used != len(b) {
					t.Errorf("used %d of %d bytes", used, len(b))
				}
				if c.alert == goesOn {
					return
				}
				if r.aead != nil || r.secret != (secret{}) || r.iv != [nonceSize]byte{} {
					t.Error("keys are still there")
				}
				if _, used, again := open(r, b); used != 0 || !errors.Is(again, err) {
					t.Errorf("a second Open used %d bytes and gave %v", used, again)
				}
			})
		}
	}
}

func check(t *testing.T, alert int, err error) {
	t.Helper()
	var breach *RecordError
	var peer *AlertError
	var ok bool
	switch alert {
	case goesOn:
		ok = err == nil
	case closed:
		ok = errors.Is(err, io.EOF)
	case alertEnd:
		ok = errors.As(err, &peer) && peer.Code == 42 && strings.Contains(err.Error(), "bad certificate")
	default:
		ok = errors.As(err, &breach) && int(breach.Alert) == alert
	}
	if !ok {
		t.Fatalf("got %v, want alert %d", err, alert)
	}
}

// A server is sent no tickets.
func TestServerRefusesTicket(t *testing.T) {
	s := logged(t, allSuites[0])
	r, _ := mustNew(t, s(), allSuites[0], false)
	_, _, err := open(r, newSealer(t, s(), allSuites[0], false).record(typeHandshake, ticket(3), 0))
	check(t, AlertUnexpectedMessage, err)
}

// A bit that is turned anywhere in a record is found, and no text comes of it.
func TestReaderFindsEveryFlip(t *testing.T) {
	s := logged(t, allSuites[0])
	b := newSealer(t, s(), allSuites[0], true).record(typeText, []byte("secret text"), 2)
	for i := range len(b) * 8 {
		c := bytes.Clone(b)
		c[i/8] ^= 1 << (i % 8)
		c = append(c, make([]byte, MaxRecord)...) // whatever length it claims now
		r, _ := mustNew(t, s(), allSuites[0], true)
		if got, _, err := open(r, c); err == nil || got != "" {
			t.Fatalf("bit %d: text %q, error %v", i, got, err)
		}
	}
}

// An error of the callback is returned with its record used, and Open goes on.
func TestReaderGoesOnAfterCallback(t *testing.T) {
	s := logged(t, allSuites[0])
	r, _ := mustNew(t, s(), allSuites[0], true)
	p := newSealer(t, s(), allSuites[0], true)
	b := join(p.record(typeText, []byte("one"), 0), p.record(typeText, []byte("two"), 0))
	mine := errors.New("mine")
	used, err := r.Open(b, func([]byte) error { return mine })
	if !errors.Is(err, mine) || used != len(b)/2 {
		t.Fatalf("used %d of %d, error %v", used, len(b), err)
	}
	if got, _, err := open(r, b[used:]); got != "two" || err != nil {
		t.Fatalf("then %q, %v", got, err)
	}
}
