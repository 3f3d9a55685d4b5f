package h2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// PutDataHeader writes the header of a DATA frame with n bytes into b[:FrameHeader].
func PutDataHeader(b []byte, id uint32, n int, last bool) {
	_ = b[FrameHeader-1]
	b[0], b[1], b[2], b[3], b[4] = byte(n>>16), byte(n>>8), byte(n), byte(http2.FrameData), 0
	if last {
		b[4] = byte(http2.FlagDataEndStream)
	}
	binary.BigEndian.PutUint32(b[5:], id)
}

// AppendDataHeader appends the header of a DATA frame with n bytes.
func AppendDataHeader(out []byte, id uint32, n int, last bool) []byte {
	var b [FrameHeader]byte
	PutDataHeader(b[:], id, n, last)
	return append(out, b[:]...)
}

// AppendReset appends an RST_STREAM frame.
func AppendReset(out []byte, id uint32, code http2.ErrCode) []byte {
	out = append(out, 0, 0, 4, byte(http2.FrameRSTStream), 0)
	out = binary.BigEndian.AppendUint32(out, id)
	return binary.BigEndian.AppendUint32(out, uint32(code))
}

// WriteHeaders writes a header block, split into CONTINUATION frames where it is longer than a frame
// of the peer may be. fr writes to memory: its errors are of no account.
func WriteHeaders(fr *http2.Framer, id uint32, end bool, block []byte, maxFrame int) {
	first := block[:min(len(block), maxFrame)]
	_ = fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(first) == len(block)})
	for block = block[len(first):]; len(block) > 0; {
		n := min(len(block), maxFrame)
		_ = fr.WriteContinuation(id, n == len(block), block[:n])
		block = block[n:]
	}
}

// ParseStatus reads the one pseudo header that a response has.
func ParseStatus(mh *http2.MetaHeadersFrame) (int, bool) {
	p := mh.PseudoFields()
	if len(p) != 1 || p[0].Name != ":status" || len(p[0].Value) != 3 {
		return 0, false
	}
	status := 0
	for _, b := range []byte(p[0].Value) {
		if b < '0' || b > '9' {
			return 0, false
		}
		status = 10*status + int(b-'0')
	}
	return status, status >= 100 && status != 101
}
