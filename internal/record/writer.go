package record

import "encoding/binary"

// Sizes of RFC 8446 section 5, in bytes.
const (
	// MaxText is the most text one record holds.
	MaxText = 1 << 14
	// MaxRecord is the most bytes one record has on the wire.
	MaxRecord = header + MaxText + 256

	header   = 5
	tag      = 16 // of every TLS 1.3 suite
	overhead = header + 1 + tag
	slot     = overhead + MaxText
	// spare is kept free behind the open record, for a key update and an alert.
	spare = 64
	// worthwhile is the least room a new record is started with.
	worthwhile = 1 << 10
)

// Content types of RFC 8446 section 5.1.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeText             = 23
)

// Writer makes the records of one direction in place: text is put into the open
// record, which Seal closes. Its buffer comes from a Pool and goes back when it
// is empty and Release is called.
//
// The buffer is: sent bytes, sealed bytes (Pending), the open record, free.
type Writer struct {
	hidden
	half
	pool   *Pool
	buf    []byte
	sent   int // end of the sent bytes
	sealed int // end of the sealed bytes, start of the open record
	fill   int // bytes of text in the open record
	ask    update
	closed bool // an alert ended the direction
	err    error
}

// Lend gives the Writer the pool of the loop that owns it. Before it, and with
// nil, buffers are allocated. It must not hold a buffer of another loop: call it
// right after New or Take.
func (w *Writer) Lend(p *Pool) { w.pool = p }

// Space returns the rest of the open record, at least need bytes (need <=
// MaxText); if the rest is smaller, the record is sealed and the next one
// started. What was written there counts after Advance. It is valid until the
// next call of any of the Writer's methods, and of the Reader's Open.
func (w *Writer) Space(need int) []byte {
	if w.fill > 0 && w.room() < need {
		w.closeRecord()
	}
	if w.fill == 0 {
		w.begin(max(need, worthwhile))
	}
	at := w.sealed + header + w.fill
	return w.buf[at : at+w.room()]
}

// Advance says that n bytes of the last Space were filled.
func (w *Writer) Advance(n int) { w.fill += n }

// Seal closes the open record, and does a key update that is due. Without
// either it does nothing.
func (w *Writer) Seal() {
	if w.fill > 0 {
		w.closeRecord()
	}
	w.rekey()
}

// Pending returns the sealed bytes that were not sent. It is valid until the
// next call of any of the Writer's methods but Buffered and Sent.
func (w *Writer) Pending() []byte { return w.buf[w.sent:w.sealed] }

// Sent drops the first n bytes of Pending: they are on their way.
func (w *Writer) Sent(n int) {
	w.sent += n
	if w.sent == w.sealed && w.fill == 0 {
		w.sent, w.sealed = 0, 0
	}
}

// Buffered is the number of bytes not sent: Pending and the open record.
func (w *Writer) Buffered() int {
	n := w.sealed - w.sent
	if w.fill > 0 {
		n += overhead + w.fill
	}
	return n
}

// Release gives the buffer back to the pool if nothing is in it.
func (w *Writer) Release() {
	if w.buf == nil || w.Buffered() > 0 {
		return
	}
	w.pool.Put(w.buf)
	w.buf, w.sent, w.sealed = nil, 0, 0
}

// Err is not nil after the direction has ended on our side by a failure: what
// is written since is dropped. CloseNotify and Alert are no failure.
func (w *Writer) Err() error { return w.err }

// Wipe zeroes the keys, drops what is not sent and gives the buffer back. The
// connection is closed after it.
func (w *Writer) Wipe() {
	w.closed = true
	w.half.wipe()
	w.fill, w.sent, w.sealed = 0, 0, 0
	w.Release()
}

// room is the rest of the open record: to its end, or to the buffer's.
func (w *Writer) room() int {
	return min(MaxText, len(w.buf)-w.sealed-overhead-spare) - w.fill
}

// begin starts a record with room for need bytes.
func (w *Writer) begin(need int) {
	w.rekey()
	w.ensure(overhead + need)
}

// ensure makes n bytes and the spare free behind the sealed ones. No record is
// open.
func (w *Writer) ensure(n int) {
	n += spare
	if len(w.buf)-w.sealed >= n {
		return
	}
	keep := w.sealed - w.sent
	if w.buf != nil && w.sent >= keep && len(w.buf)-keep >= n {
		// At most as many bytes are moved as were sent: the cost is bounded.
		copy(w.buf, w.buf[w.sent:w.sealed])
	} else {
		b := w.pool.Get(max(keep+n, 2*len(w.buf)))
		copy(b, w.buf[w.sent:w.sealed])
		w.pool.Put(w.buf)
		w.buf = b
	}
	w.sent, w.sealed = 0, keep
}

func (w *Writer) closeRecord() {
	n := w.fill
	w.fill = 0
	if !w.closed {
		w.seal(typeText, n)
	}
}

// seal makes a record of the n bytes behind the header's room at w.sealed
// (RFC 8446 section 5.2). Its padding is empty.
func (w *Writer) seal(typ byte, n int) {
	nonce, err := w.next()
	if err != nil {
		w.fail(err)
		return
	}
	b := w.buf[w.sealed : w.sealed+overhead+n]
	b[0], b[1], b[2] = typeText, 3, 3
	binary.BigEndian.PutUint16(b[3:], uint16(n+1+tag))
	b[header+n] = typ
	w.aead.Seal(b[header:header], nonce, b[header:header+n+1], b[:header])
	w.sealed += len(b)
}

func (w *Writer) fail(err error) {
	w.err, w.closed = err, true
	w.half.wipe()
}
