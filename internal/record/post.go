package record

// maxMessage bounds a handshake message's body, in bytes: a session ticket with
// a certificate chain in it.
const maxMessage = 1 << 16

// A peer may change its keys updateBurst times, and once more for each
// updateRecords records. A change costs us as much as some 100 small records,
// and no peer has a reason for more.
const (
	updateBurst   = 128
	updateRecords = 64
)

// handshake takes a record of handshake messages, or a piece of one.
func (r *Reader) handshake(p []byte) error {
	if len(p) == 0 {
		// RFC 8446 section 5.1.
		return breach(AlertUnexpectedMessage, "empty handshake record")
	}
	if len(r.hand) > 0 {
		p = append(r.hand, p...)
		r.hand = nil
	}
	for len(p) > 0 {
		m, err := r.first(p)
		if err != nil {
			return err
		}
		if m == nil {
			r.hand = append([]byte(nil), p...)
			break
		}
		p = p[len(m):]
		if m[0] == msgSessionTicket {
			continue // a Reader has no use for it but to feed it back
		}
		if err := r.keyUpdate(m[msgHeader:], len(p) == 0); err != nil {
			return err
		}
	}
	if r.feed != nil {
		return r.feed.give(len(r.hand) > 0)
	}
	return nil
}

// first returns the first message of p with its header, or nil if p holds only
// its start. Types that may not follow a handshake are refused at once: we never
// offer post_handshake_auth, and only servers send tickets.
func (r *Reader) first(p []byte) ([]byte, error) {
	if p[0] != msgKeyUpdate && (p[0] != msgSessionTicket || !r.client) {
		return nil, breach(AlertUnexpectedMessage, "handshake message of type %d", p[0])
	}
	if len(p) < msgHeader {
		return nil, nil
	}
	n := int(p[1])<<16 | int(p[2])<<8 | int(p[3])
	if n > maxMessage {
		return nil, breach(AlertDecodeError, "handshake message of %d bytes", n)
	}
	if len(p) < msgHeader+n {
		return nil, nil
	}
	return p[:msgHeader+n], nil
}

// keyUpdate moves to the peer's next keys (RFC 8446 section 4.6.3), which start
// at a record's border (section 5.1).
func (r *Reader) keyUpdate(p []byte, last bool) error {
	switch {
	case len(p) != 1:
		return breach(AlertDecodeError, "key update of %d bytes", len(p))
	case p[0] > 1:
		return breach(AlertIllegalParameter, "key update request %d", p[0])
	case !last:
		return breach(AlertUnexpectedMessage, "message after a key update")
	}
	r.updates = min(updateBurst, r.updates+r.seq/updateRecords)
	if r.updates == 0 {
		return breach(AlertUnexpectedMessage, "too many key updates")
	}
	r.updates--
	if p[0] == 1 {
		r.w.Update(false)
	}
	r.asked, r.feed = false, nil
	return r.update()
}
