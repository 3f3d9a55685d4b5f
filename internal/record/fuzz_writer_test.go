package record

import (
	"bytes"
	"io"
	"testing"
)

// FuzzWriter calls a Writer in any order and either role, with its wire taken in
// any pieces: crypto/tls and a Reader, each the other side, get the text that was
// put in, in order.
func FuzzWriter(f *testing.F) {
	for _, client := range bothRoles {
		f.Add(client, []byte{0, 9, 1, 200, 3, 5, 2, 255, 4, 0, 0, 1})
		f.Add(client, []byte{2, 255, 2, 255, 2, 255, 2, 255, 2, 255, 3, 1, 0, 255, 0, 255})
		f.Add(client, []byte{0, 255, 4, 1, 0, 255, 4, 0, 5, 0, 0, 255, 6, 0, 1, 3})
		f.Add(client, bytes.Repeat([]byte{4, 0, 5, 0}, 18)) // too many key updates
	}
	cfg := quick(f)
	f.Fuzz(func(t *testing.T, client bool, ops []byte) {
		if len(ops) > 100 {
			t.Skip("long enough")
		}
		theirs, secrets, state := connected(t, cfg, !client)
		one, two := secrets, secrets
		_, w := mustNew(t, &one, state.CipherSuite, client)
		r, _ := mustNew(t, &two, state.CipherSuite, !client)
		w.Lend(&Pool{})
		w.suite.records = 7
		m := &model{w: w}
		for len(ops) >= 2 {
			m.step(ops[0], int(ops[1]))
			ops = ops[2:]
		}
		m.wire = append(m.wire, drain(w)...)
		theirs.NetConn().(*boundary).in = bytes.Clone(m.wire)
		want, wantErr := io.ReadAll(theirs)
		got, used, err := open(r, m.wire)
		if got != string(want) || how(err) != how(wantErr) {
			t.Fatalf("ours %d bytes, %v; crypto/tls %d bytes, %v", len(got), err, len(want), wantErr)
		}
		// Seventeen key updates in a row are refused, rightly.
		if err == nil && (got != m.text.String() || used != len(m.wire)) {
			t.Fatalf("got %d bytes of %d, used %d of %d", len(got), m.text.Len(), used, len(m.wire))
		}
		if err != nil {
			check(t, AlertUnexpectedMessage, err)
		}
		if w.buf != nil || w.Buffered() != 0 {
			t.Fatal("a buffer is held with nothing in it")
		}
	})
}

type model struct {
	w    *Writer
	text bytes.Buffer
	wire []byte
	n    byte
}

// fill writes n bytes that differ from their neighbours.
func (m *model) fill(b []byte) {
	for i := range b {
		m.n += 7
		b[i] = m.n
	}
	m.text.Write(b)
}

func (m *model) step(op byte, arg int) {
	switch op % 7 {
	case 0, 1:
		b := m.w.Space(1 + arg*64)
		b = b[:min(len(b), 1+arg*int(op%7*64+1))]
		m.fill(b)
		m.w.Advance(len(b))
	case 2:
		m.slots(arg)
	case 3:
		m.w.Seal()
		some := m.w.Pending()
		some = some[:min(len(some), arg*1000)]
		m.wire = append(m.wire, some...)
		m.w.Sent(len(some))
	case 4:
		m.w.Update(arg%2 == 1)
	case 5:
		m.w.Seal()
	case 6:
		m.w.Release()
	}
}

func (m *model) slots(arg int) {
	slots := m.w.Slots(nil, 1+arg%4, 5)
	n := arg * 250
	done := 0
	for _, s := range slots {
		size := min(n-done, len(s))
		m.text.Write((&head{}).bytes(size))
		m.fill(s[:size])
		if done += size; done == n {
			break
		}
	}
	m.w.Filled(done, 5, &head{})
}

func (h *head) bytes(n int) []byte {
	if n == 0 {
		return nil
	}
	b := make([]byte, 5)
	h.PutHeader(b, n, false)
	return b
}
