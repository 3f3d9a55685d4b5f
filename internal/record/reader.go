package record

import (
	"encoding/binary"
	"io"
)

const (
	maxCipherText = MaxText + 256 // RFC 8446 section 5.2
	maxInner      = MaxText + 1   // section 5.4: text, type and padding
	// maxUseless is how many records in a row may bring no text; crypto/tls
	// allows as many.
	maxUseless = 16
)

// Reader opens the records of the peer's direction. It keeps no bytes between
// calls but a piece of a handshake message.
type Reader struct {
	hidden
	half
	w       *Writer
	client  bool
	useless int
	updates uint64 // key updates that the peer may still do
	asked   bool   // we asked the peer for new keys
	hand    []byte // the start of a handshake message
	feed    *feed  // tickets go back to crypto/tls
	err     error
}

// Open opens the whole records at the start of b, in place, and calls text with
// each one's text, which is valid during the call. It returns how many bytes of b
// it has used; the rest is the start of a record, to be handed in again with more
// behind it. MaxRecord bytes always hold a whole record.
//
// An error of text is returned as it is, and the record it was called with is
// used; Open may go on later. Every other error stays: io.EOF after close_notify
// (what follows it is not read, RFC 8446 section 6.1), *AlertError, *RecordError.
// The end of the stream without any of them is the caller's to notice.
func (r *Reader) Open(b []byte, text func([]byte) error) (int, error) {
	used := 0
	for r.err == nil {
		rec, err := whole(b[used:])
		if err == nil && rec == nil {
			return used, nil
		}
		if err != nil {
			r.fail(err)
			break
		}
		used += len(rec)
		p, err := r.record(rec)
		if err != nil {
			r.fail(err)
			break
		}
		if len(p) == 0 {
			continue
		}
		if err := text(p); err != nil {
			return used, err
		}
	}
	return used, r.err
}

// record opens one record and returns its text; without text it does what the
// record says.
func (r *Reader) record(rec []byte) ([]byte, error) {
	if r.feed != nil {
		r.feed.keep(rec)
	}
	typ, p, err := r.open(rec)
	if err != nil {
		return nil, err
	}
	if typ != typeHandshake && len(r.hand) > 0 {
		return nil, breach(AlertUnexpectedMessage, "handshake message is interrupted")
	}
	if typ == typeText && len(p) > 0 {
		r.useless, r.feed = 0, nil
		return p, nil
	}
	if err := r.other(typ, p); err != nil {
		return nil, err
	}
	return nil, r.tooMany()
}

// other does what a record without text says.
func (r *Reader) other(typ byte, p []byte) error {
	switch typ {
	case typeText:
		r.feed = nil
		return nil
	case typeAlert:
		return alertOf(p)
	case typeHandshake:
		return r.handshake(p)
	}
	return breach(AlertUnexpectedMessage, "content type %d", typ)
}

func (r *Reader) tooMany() error {
	if r.useless++; r.useless > maxUseless {
		return breach(AlertUnexpectedMessage, "more than %d records in a row without text", maxUseless)
	}
	return nil
}

// whole returns the first record of b, or nil if b holds only its start.
func whole(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != typeText {
		// Also a change_cipher_spec: it is dropped only before the peer's
		// Finished (RFC 8446 section 5).
		return nil, breach(AlertUnexpectedMessage, "record of type %d is not protected", b[0])
	}
	if len(b) < header {
		return nil, nil
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	switch {
	case n > maxCipherText:
		return nil, breach(AlertRecordOverflow, "%d bytes", n)
	case n < 1+tag:
		return nil, breach(AlertBadRecordMAC, "%d bytes", n)
	case len(b) < header+n:
		return nil, nil
	}
	return b[:header+n], nil
}

// open decrypts a record in place and takes its padding off: type and content
// (RFC 8446 sections 5.2 and 5.4).
func (r *Reader) open(rec []byte) (byte, []byte, error) {
	nonce, err := r.next()
	if err != nil {
		return 0, nil, err
	}
	p, err := r.aead.Open(rec[header:header], nonce, rec[header:], rec[:header])
	if err != nil {
		return 0, nil, breach(AlertBadRecordMAC, "not authentic")
	}
	if len(p) > maxInner {
		return 0, nil, breach(AlertRecordOverflow, "%d bytes of text and padding", len(p))
	}
	r.askForKeys()
	i := len(p) - 1
	for i >= 0 && p[i] == 0 {
		i--
	}
	if i < 0 {
		return 0, nil, breach(AlertUnexpectedMessage, "nothing but padding")
	}
	return p[i], p[:i], nil
}

// askForKeys makes the Writer ask the peer for new keys once these are spent:
// not every peer counts its own records (crypto/tls does not).
func (r *Reader) askForKeys() {
	if !r.asked && r.spent() {
		r.asked = true
		r.w.Update(true)
	}
}

// alertOf reads an alert record: exactly one alert (RFC 8446 section 5.1). The
// level says nothing in TLS 1.3; user_canceled alone ends nothing (section 6.1).
func alertOf(p []byte) error {
	if len(p) != 2 {
		return breach(AlertDecodeError, "alert of %d bytes", len(p))
	}
	switch p[1] {
	case AlertCloseNotify:
		return io.EOF
	case AlertUserCanceled:
		return nil
	}
	return &AlertError{Code: p[1]}
}

// Wipe zeroes the keys. Open fails after it.
func (r *Reader) Wipe() {
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	r.half.wipe()
	r.hand, r.feed = nil, nil
}

func (r *Reader) fail(err error) {
	r.err = err
	r.Wipe()
}
