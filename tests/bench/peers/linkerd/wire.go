package linkerd

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The few messages of io.linkerd.proxy that are needed are put together field by field: the whole of that
// interface is a large module.

// message is an embedded message, text or bytes.
func message(number protowire.Number, parts ...[]byte) []byte {
	b := protowire.AppendTag(nil, number, protowire.BytesType)
	return protowire.AppendBytes(b, slices.Concat(parts...))
}

func text(number protowire.Number, s string) []byte { return message(number, []byte(s)) }

func integer(number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
}

func word(number protowire.Number, v uint32) []byte {
	return protowire.AppendFixed32(protowire.AppendTag(nil, number, protowire.Fixed32Type), v)
}

// fields are a message's bytes fields and integers, the last of each.
type fields struct {
	bytes map[protowire.Number][]byte
	ints  map[protowire.Number]uint64
}

var errMalformed = errors.New("malformed message")

func parse(b []byte) (fields, error) {
	f := fields{map[protowire.Number][]byte{}, map[protowire.Number]uint64{}}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return f, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		switch kind {
		case protowire.BytesType:
			f.bytes[number], n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			f.ints[number], n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.ints[number] = uint64(v)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return f, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
	}
	return f, nil
}

// codec passes messages as they are.
type codec struct{}

// Name implements encoding.Codec.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.Codec.
func (codec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T: %w", v, errMalformed)
	}
	return *b, nil
}

// Unmarshal implements encoding.Codec.
func (codec) Unmarshal(b []byte, v any) error {
	to, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T: %w", v, errMalformed)
	}
	*to = slices.Clone(b)
	return nil
}
