package record

// Handshake messages that may follow the handshake (RFC 8446 section 4.6).
const (
	msgSessionTicket = 4
	msgKeyUpdate     = 24
)

// msgHeader is a handshake message's type and length, in bytes.
const msgHeader = 4

// update is a key update that waits for the next record.
type update uint8

const (
	updateNone update = iota
	updateOwn         // update_not_requested
	updateBoth        // update_requested: the peer shall change its keys as well
)

// Update changes the keys before the next record, or at Seal. With both, the
// peer is asked to change its own (RFC 8446 section 4.6.3). Own limits need no
// call: the Writer keeps them.
func (w *Writer) Update(both bool) {
	u := updateOwn
	if both {
		u = updateBoth
	}
	w.ask = max(w.ask, u)
}

// rekey does the key update that is due, if one is. No record is open. Several
// requests of the peer since the last record are answered once, as section 4.6.3
// allows: a flood of them costs no output.
func (w *Writer) rekey() {
	if w.closed || (w.ask == updateNone && !w.spent()) {
		return
	}
	both := byte(0)
	if w.ask == updateBoth {
		both = 1
	}
	w.ask = updateNone
	w.ensure(overhead + msgHeader + 1)
	copy(w.buf[w.sealed+header:], []byte{msgKeyUpdate, 0, 0, 1, both})
	w.seal(typeHandshake, msgHeader+1)
	if w.closed {
		return
	}
	if err := w.update(); err != nil {
		w.fail(err)
	}
}
