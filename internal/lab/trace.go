package lab

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Trace is what a capture saw.
type Trace struct{ Segments []Segment }

// FlowCount is a flow with its packets and bytes of payload.
type FlowCount struct {
	Flow
	Packets, Bytes int
}

// Flows lists the flows in the order of their first packet.
func (t *Trace) Flows() []FlowCount {
	var out []FlowCount
	at := map[Flow]int{}
	for _, s := range t.Segments {
		i, ok := at[s.Flow]
		if !ok {
			i = len(out)
			at[s.Flow] = i
			out = append(out, FlowCount{Flow: s.Flow})
		}
		out[i].Packets++
		out[i].Bytes += len(s.Payload)
	}
	return out
}

// Between leaves what goes from one address to the other or back.
func (t *Trace) Between(a, b netip.Addr) *Trace {
	return t.filter(func(s Segment) bool {
		x, y := s.Src.Addr(), s.Dst.Addr()
		return x == a && y == b || x == b && y == a
	})
}

// Port leaves what goes to or from a port.
func (t *Trace) Port(port uint16) *Trace {
	return t.filter(func(s Segment) bool { return s.Src.Port() == port || s.Dst.Port() == port })
}

// Opening leaves what opens a connection or has a payload: not the refusal of one.
func (t *Trace) Opening() *Trace {
	return t.filter(func(s Segment) bool { return s.Flags&FlagSYN != 0 || len(s.Payload) > 0 })
}

func (t *Trace) filter(yes func(Segment) bool) *Trace {
	out := &Trace{}
	for _, s := range t.Segments {
		if yes(s) {
			out.Segments = append(out.Segments, s)
		}
	}
	return out
}

// Contains says whether bytes were readable on the link, also across segments.
func (t *Trace) Contains(needle []byte) bool {
	for _, f := range t.Flows() {
		b, _ := t.Stream(f.Flow) // a gap hides nothing: what follows is searched below
		if bytes.Contains(b, needle) {
			return true
		}
	}
	return slices.ContainsFunc(t.Segments, func(s Segment) bool { return bytes.Contains(s.Payload, needle) })
}

// Stream puts a flow's segments together. It ends at the first gap and says so.
func (t *Trace) Stream(f Flow) (stream []byte, gap bool) {
	var segs []Segment
	for _, s := range t.Segments {
		if s.Flow == f && len(s.Payload) > 0 {
			segs = append(segs, s)
		}
	}
	if len(segs) == 0 {
		return nil, false
	}
	first := segs[0].Seq
	for _, s := range segs {
		if int32(s.Seq-first) < 0 {
			first = s.Seq
		}
	}
	slices.SortStableFunc(segs, func(a, b Segment) int { return cmp.Compare(a.Seq-first, b.Seq-first) })
	for _, s := range segs {
		skip := len(stream) - int(s.Seq-first)
		if skip < 0 {
			return stream, true
		}
		if skip < len(s.Payload) {
			stream = append(stream, s.Payload[skip:]...)
		}
	}
	return stream, false
}

// OnlyTLS is nil if every flow is TLS records from its first byte on, and there is at least one. A flow
// that was open when the capture began may begin with any record.
func (t *Trace) OnlyTLS() error {
	seen := 0
	for _, f := range t.Flows() {
		b, _ := t.Stream(f.Flow)
		if len(b) == 0 {
			continue
		}
		seen++
		if err := tlsRecords(b, t.begins(f.Flow)); err != nil {
			return fmt.Errorf("%s -> %s: %w", f.Src, f.Dst, err)
		}
	}
	if seen == 0 {
		return errors.New("no payload at all")
	}
	return nil
}

func (t *Trace) begins(f Flow) bool {
	return slices.ContainsFunc(t.Segments, func(s Segment) bool { return s.Flow == f && s.Flags&FlagSYN != 0 })
}

// tlsRecords checks the headers of TLS records; the last record may be cut. A whole stream begins with
// a handshake.
func tlsRecords(b []byte, whole bool) error {
	const handshake, applicationData, longest = 22, 23, 1<<14 + 256
	for at := 0; at < len(b); {
		r := b[at:]
		if r[0] < 20 || r[0] > applicationData || whole && at == 0 && r[0] != handshake {
			return fmt.Errorf("byte %d: %#x is no type of a TLS record", at, r[0])
		}
		if len(r) < 5 {
			return nil
		}
		n := int(r[3])<<8 | int(r[4])
		if r[1] != 3 || n > longest {
			return fmt.Errorf("byte %d: % x is no header of a TLS record", at, r[:5])
		}
		at += 5 + n
	}
	return nil
}
