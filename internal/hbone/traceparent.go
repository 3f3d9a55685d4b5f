package hbone

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
)

// ErrTraceparent is wrapped by ParseTraceparent.
var ErrTraceparent = errors.New("bad traceparent")

// Traceparent names one connection in the logs of both ends (W3C Trace Context). Nothing is sampled.
type Traceparent struct {
	Trace  [16]byte
	Parent [8]byte
	Flags  byte
}

const traceparentLen = 55

// NewTraceparent makes a fresh one. random is a source like math/rand/v2's Uint64, which nil means.
func NewTraceparent(random func() uint64) Traceparent {
	if random == nil {
		random = rand.Uint64
	}
	var t Traceparent
	binary.BigEndian.PutUint64(t.Trace[:8], random())
	binary.BigEndian.PutUint64(t.Trace[8:], random()|1) // all zero is not valid
	binary.BigEndian.PutUint64(t.Parent[:], random()|1)
	return t
}

// String returns the header's value, of version 00.
func (t Traceparent) String() string {
	b := make([]byte, 0, traceparentLen)
	b = append(b, "00-"...)
	b = append(hex.AppendEncode(b, t.Trace[:]), '-')
	b = append(hex.AppendEncode(b, t.Parent[:]), '-')
	return string(hex.AppendEncode(b, []byte{t.Flags}))
}

// ParseTraceparent reads the header of version 00, or the same start of a later version.
func ParseTraceparent(s string) (Traceparent, error) {
	var t Traceparent
	if len(s) < traceparentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return Traceparent{}, badTraceparent(s)
	}
	var version [1]byte
	var flags [1]byte
	ok := lowerHex(version[:], s[:2]) && lowerHex(t.Trace[:], s[3:35]) &&
		lowerHex(t.Parent[:], s[36:52]) && lowerHex(flags[:], s[53:55])
	switch {
	case !ok, version[0] == 0xff, t.Trace == [16]byte{}, t.Parent == [8]byte{},
		version[0] == 0 && len(s) != traceparentLen,
		len(s) > traceparentLen && s[traceparentLen] != '-':
		return Traceparent{}, badTraceparent(s)
	}
	t.Flags = flags[0]
	return t, nil
}

func badTraceparent(s string) error { return fmt.Errorf("%w: %.100q", ErrTraceparent, s) }

// lowerHex decodes s into dst; upper case is not allowed (Trace Context 3.2).
func lowerHex(dst []byte, s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'F' {
			return false
		}
	}
	n, err := hex.Decode(dst, []byte(s))
	return err == nil && n == len(dst)
}
