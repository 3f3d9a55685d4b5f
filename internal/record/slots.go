package record

// Header writes what stands in front of n bytes of bulk data in a record: an
// HTTP/2 frame header. b is the head bytes and the n bytes behind them.
type Header interface {
	PutHeader(b []byte, n int, end bool)
}

// Slots lends n whole records for one bulk read (readv): for each it appends to
// dst where data goes, MaxText-head bytes, with head bytes kept in front for a
// Header. Filled says how much came; the slices are valid until then or any
// other call. The open record is sealed first.
func (w *Writer) Slots(dst [][]byte, n, head int) [][]byte {
	if w.fill > 0 {
		w.closeRecord()
	}
	w.rekey()
	w.ensure(n * slot)
	for i := range n {
		at := w.sealed + i*slot + header
		dst = append(dst, w.buf[at+head:at+MaxText])
	}
	return dst
}

// Filled takes n bytes, which were read in order into the slices of the last
// Slots with the same head. Each record that is followed by another is sealed;
// the last one is left open, so that more may follow. h writes each head.
func (w *Writer) Filled(n, head int, h Header) {
	for n > 0 {
		size := min(n, MaxText-head)
		at := w.sealed + header
		h.PutHeader(w.buf[at:at+head+size], size, false)
		w.fill = head + size
		if n -= size; n > 0 {
			w.closeRecord()
		}
	}
}
