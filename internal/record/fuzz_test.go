package record

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// bothRoles are ours against crypto/tls's; a fuzzer chooses one.
var bothRoles = [...]bool{true, false}

// FuzzReader cuts a stream that crypto/tls sealed anywhere and turns any bits of
// it: whatever comes out is a prefix of what went in, and all of it, with the
// end, if nothing was turned.
func FuzzReader(f *testing.F) {
	recs := map[bool]*recorded{}
	for _, client := range bothRoles {
		recs[client] = record(f, client, "GET / HTTP/1.1\r\n", "x", string(make([]byte, 3000)), "the rest of it")
		f.Add(client, uint16(1), uint16(0), byte(0))
		f.Add(client, uint16(7), uint16(5), byte(1))
		f.Add(client, uint16(400), uint16(1000), byte(0x80))
	}
	f.Fuzz(func(t *testing.T, client bool, step, at uint16, flip byte) {
		rec := recs[client]
		b := bytes.Clone(rec.stream)
		b[int(at)%len(b)] ^= flip
		r := rec.reader(t)
		var got []byte
		var left []byte
		var err error
		for len(b) > 0 && err == nil {
			n := min(len(b), int(step)+1)
			left = append(left, b[:n]...)
			b = b[n:]
			var used int
			used, err = r.Open(left, func(p []byte) error { got = append(got, p...); return nil })
			left = left[used:]
		}
		whole := string(got) == rec.text && errors.Is(err, io.EOF)
		if !bytes.HasPrefix([]byte(rec.text), got) || whole != (flip == 0) {
			t.Fatalf("%d of %d bytes, %v", len(got), len(rec.text), err)
		}
	})
}

// FuzzReaderBytes opens bytes that nobody sealed: there is no text in them.
func FuzzReaderBytes(f *testing.F) {
	s := logged(f, allSuites[0])
	for _, client := range bothRoles {
		f.Add(client, []byte{typeText, 3, 3, 0, 20, 1, 2, 3})
		f.Add(client, []byte{typeAlert, 3, 3, 0, 2, 2, 40})
		f.Add(client, append([]byte{typeText, 3, 3, 0, 17}, make([]byte, 40)...))
	}
	f.Fuzz(func(t *testing.T, client bool, b []byte) {
		r, _ := mustNew(t, s(), allSuites[0], client)
		got, used, err := open(r, b)
		if got != "" || (err == nil && used != 0) {
			t.Fatalf("text %q, used %d, %v", got, used, err)
		}
	})
}

// FuzzInner seals what a fuzzer makes of records' insides, and lets both a Reader
// and crypto/tls read it: they give the same text and agree on whether and how
// the connection ends.
func FuzzInner(f *testing.F) {
	for _, client := range bothRoles {
		f.Add(client, []byte{opText, 3, opUpdate, 1, opText, 9, opClose, 0})
		f.Add(client, []byte{opTicket, 5, opText, 1, opPad, 200, opEmpty, 1, opPieces, 3, opText, 4})
		f.Add(client, []byte{opText, 1, opPad, 200, opEmpty, 1, opUpdate, 0, opText, 4})
		f.Add(client, []byte{opUpdate, 2, opText, 1})
		f.Add(client, []byte{opAlert, 40, opText, 1})
		f.Add(client, []byte{opEmpty, 16, opText, 1})
		f.Add(client, []byte{opEmpty, 17, opText, 1})
		f.Add(client, []byte{opAlert, 90, opHello, 0})
		f.Add(client, []byte{opTwo, 0, opText, 1})
	}
	cfg := quick(f)
	f.Fuzz(func(t *testing.T, client bool, ops []byte) {
		if len(ops) > 64 {
			t.Skip("long enough")
		}
		theirs, secrets, state := connected(t, cfg, client)
		one, two := secrets, secrets
		r, _ := mustNew(t, &one, state.CipherSuite, client)
		stream := plan(newSealer(t, &two, state.CipherSuite, client), ops)
		b := theirs.NetConn().(*boundary)
		b.in = bytes.Clone(stream)
		want, wantErr := io.ReadAll(theirs)
		got, _, err := open(r, stream)
		if err != nil && strings.Contains(err.Error(), "in a row") {
			return // a message's pieces count here, and not in crypto/tls
		}
		if wantErr == nil {
			wantErr = io.EOF // io.ReadAll hides it
		}
		if got != string(want) || how(err) != how(wantErr) {
			t.Fatalf("ours %d bytes, %v; crypto/tls %d bytes, %v", len(got), err, len(want), wantErr)
		}
	})
}

// how says whether and how a connection has ended.
func how(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "close_notify"
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		return "goes on"
	}
	return "broken"
}

const (
	opText = iota
	opPad
	opEmpty
	opUpdate
	opTicket
	opPieces
	opAlert
	opClose
	opHello
	opTwo
	opFlip
	opType
	opCount
)

// plan makes records of pairs of bytes, operation and argument.
func plan(s *sealer, ops []byte) []byte {
	var b []byte
	for len(ops) >= 2 {
		op, n := ops[0]%opCount, ops[1]
		ops = ops[2:]
		switch op {
		case opText:
			b = append(b, s.record(typeText, make([]byte, int(n)+1), 0)...)
		case opPad:
			b = append(b, s.record(typeText, []byte("p"), int(n)*70)...)
		case opEmpty:
			b = append(b, repeat(int(n%20), func() []byte { return s.record(typeText, nil, 1) })...)
		case opUpdate:
			b = append(b, s.keyUpdate(n%3)...)
		case opTicket:
			b = append(b, s.record(typeHandshake, ticket(int(n)+1), 0)...)
		case opPieces:
			m := ticket(600)
			at := 1 + int(n)
			b = append(b, join(s.record(typeHandshake, m[:at], 0), s.record(typeHandshake, m[at:], 0))...)
		case opAlert:
			b = append(b, s.record(typeAlert, []byte{1 + n&1, n}, 0)...)
		case opClose:
			b = append(b, s.record(typeAlert, []byte{1, 0}, 0)...)
		case opHello:
			b = append(b, s.record(typeHandshake, []byte{13, 0, 0, 0}, 0)...)
		case opTwo:
			b = append(b, s.record(typeHandshake, []byte{msgKeyUpdate, 0, 0, 1, 0, msgKeyUpdate, 0, 0, 1, 0}, 0)...)
		case opFlip:
			rec := s.record(typeText, []byte("flip"), 0)
			rec[5+int(n)%(len(rec)-5)] ^= 1
			b = append(b, rec...)
		case opType:
			if n == typeChangeCipherSpec || n == typeHandshake || n == typeAlert {
				continue // crypto/tls lets a protected change_cipher_spec pass
			}
			b = append(b, s.record(n, []byte("type"), 0)...)
		}
	}
	return b
}
