package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
)

// maxSecret is the size of the largest suite's hash, SHA-384, in bytes.
const maxSecret = 48

// The labels of the two lines that matter, in the key log format that
// crypto/tls writes.
const (
	labelClient = "CLIENT_TRAFFIC_SECRET_0"
	labelServer = "SERVER_TRAFFIC_SECRET_0"
)

// Secrets collects the application traffic secrets of one handshake. It is set
// as the KeyLogWriter of a tls.Config that serves this one connection (a Clone).
// It writes nothing anywhere. The zero value is ready; it is not for concurrent
// use, which one connection's handshake does not need.
type Secrets struct {
	hidden
	client, server secret
	random         [32]byte
	seen           bool
	err            error
	done           bool
}

// secret is one traffic secret of n bytes.
type secret struct {
	b [maxSecret]byte
	n int
}

func (s *secret) bytes() []byte { return s.b[:s.n] }

func (s *secret) wipe() { *s = secret{} }

var (
	errKeyLogLine = errors.New("not a key log line")
	errTwoRandoms = errors.New("secrets of two handshakes in one collector")
)

// Write takes one line of the key log. A line that cannot be read, and a line of
// another handshake, makes New fail later; it does not fail the handshake with
// an error that would carry the line. After Wipe lines are ignored.
//
// Write zeroes line, which io.Writer forbids and which is meant: crypto/tls makes
// each line for this call alone and drops it, so the secrets would stay in memory
// as text until the garbage collector used it again. What is behind a Secrets in
// an io.MultiWriter gets zeros, which is as well.
func (s *Secrets) Write(line []byte) (int, error) {
	defer clear(line)
	if s.done {
		return len(line), nil
	}
	if err := s.take(line); err != nil && s.err == nil {
		s.err = err
	}
	return len(line), nil
}

func (s *Secrets) take(line []byte) error {
	label, rest, ok := bytes.Cut(bytes.TrimRight(line, "\n"), []byte{' '})
	if !ok {
		return errKeyLogLine
	}
	random, value, ok := bytes.Cut(rest, []byte{' '})
	if !ok || len(random) != hex.EncodedLen(len(s.random)) {
		return errKeyLogLine
	}
	if err := s.same(random); err != nil {
		return err
	}
	switch string(label) {
	case labelClient:
		return s.client.decode(value)
	case labelServer:
		return s.server.decode(value)
	}
	return nil
}

// same checks that the line is of the handshake that the first line was of.
func (s *Secrets) same(random []byte) error {
	var b [32]byte
	if _, err := hex.Decode(b[:], random); err != nil {
		return errKeyLogLine
	}
	if s.seen && b != s.random {
		return errTwoRandoms
	}
	s.random, s.seen = b, true
	return nil
}

func (s *secret) decode(text []byte) error {
	if hex.DecodedLen(len(text)) > maxSecret {
		return errKeyLogLine
	}
	n, err := hex.Decode(s.b[:], text)
	if err != nil {
		return errKeyLogLine // hex's error would show a byte of the line
	}
	s.n = n
	return nil
}

// check says whether both secrets are there and as long as the suite's hash.
func (s *Secrets) check(size int) error {
	switch {
	case s.err != nil:
		return s.err
	case s.done:
		return errors.New("secrets already taken")
	case s.client.n != size || s.server.n != size:
		return fmt.Errorf("want two traffic secrets of %d bytes, have %d and %d bytes", size, s.client.n, s.server.n)
	}
	return nil
}

// Wipe zeroes the secrets; what is written later is ignored.
func (s *Secrets) Wipe() {
	*s = Secrets{done: true}
}
