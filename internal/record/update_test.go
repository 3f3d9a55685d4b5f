package record

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// The Writer changes its keys before their limit, again and again; crypto/tls
// follows, in both roles.
func TestOwnUpdate(t *testing.T) {
	p := newPKI(t)
	for _, client := range []bool{true, false} {
		o, peer := pair(t, p.config(), p.config(), client)
		o.w.suite.records = 3
		first := o.w.secret
		talk(t, o, peer, 50*MaxText)
		if o.w.secret == first || o.w.seq > 3 {
			t.Errorf("client %v: same key after 50 records, sequence number %d", client, o.w.seq)
		}
	}
}

// crypto/tls never changes its keys of itself: the Reader asks for it in time,
// once, and gets it.
func TestAskForUpdate(t *testing.T) {
	p := newPKI(t)
	for _, client := range []bool{true, false} {
		o, peer := pair(t, p.config(), p.config(), client)
		o.r.suite.records = 5
		first := o.r.secret
		for range 20 {
			talk(t, o, peer, 10)
		}
		if o.r.secret == first || o.r.seq > 7 {
			t.Errorf("client %v: peer has the same key after 20 records, sequence number %d", client, o.r.seq)
		}
	}
}

// Requests of a peer are answered before the next text, several of them once;
// the answer asks for nothing.
func TestAnswerUpdate(t *testing.T) {
	for _, id := range allSuites {
		s := logged(t, id)
		r, w := mustNew(t, s(), id, true)
		peer := newSealer(t, s(), id, true)
		theirs, _ := mustNew(t, s(), id, false)
		for range 3 {
			write(w, []byte("open at the time,"))
			b := join(peer.keyUpdate(1), peer.keyUpdate(1), peer.record(typeText, []byte("hello"), 0))
			if got, _, err := open(r, b); got != "hello" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			first := w.secret
			write(w, []byte("still fits"))
			wire := drain(w)
			if w.secret == first || w.seq != 0 {
				t.Fatal("no new keys")
			}
			write(w, []byte(", next"))
			got, _, err := open(theirs, append(wire, drain(w)...))
			if got != "open at the time,still fits, next" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			if theirs.w.ask != updateNone {
				t.Fatal("the answer asks")
			}
		}
	}
}

// Limits are those of RFC 8446 section 5.5, with room: a slot's records are
// sealed under one key.
func TestLimits(t *testing.T) {
	for _, id := range allSuites[:2] {
		if su, _ := suiteByID(id); float64(su.records) > math.Pow(2, 24.5)/2 {
			t.Errorf("%#x: %d records", id, su.records)
		}
	}
	w, r := ends(t, allSuites[2])
	w.seq, r.seq = chachaRecords, chachaRecords
	write(w, []byte("x"))
	if w.seq != 0 {
		t.Fatal("no key update at the limit")
	}
	if got, _, err := open(r, drain(w)); got != "x" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
}

// The last sequence number is not used: both directions end.
func TestSequenceEnds(t *testing.T) {
	w, r := ends(t, allSuites[0])
	w.suite.records = math.MaxUint64
	w.seq, r.seq = math.MaxUint64-1, math.MaxUint64-1
	write(w, []byte("x"))
	b := drain(w)
	if got, _, err := open(r, b); got != "x" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, _, err := open(r, b); !errors.Is(err, errSequence) {
		t.Fatalf("got %v", err)
	}
	w.suite.records = math.MaxUint64
	w.seq = math.MaxUint64
	w.ask = updateNone
	w.fill = 1
	if w.closeRecord(); !errors.Is(w.Err(), errSequence) || len(w.Pending()) > 0 {
		t.Fatalf("got %v", w.Err())
	}
}

func TestErrorsSayNoKeys(t *testing.T) {
	s := &Secrets{}
	line := labelClient + " " + strings.Repeat("ab", 32) + " " + strings.Repeat("cd", 31) + "zz\n"
	if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
		t.Fatal(n, err)
	}
	_, _, err := New(s, finished(allSuites[0]), true)
	if err == nil || strings.Contains(err.Error(), "cd") || strings.Contains(err.Error(), "z") {
		t.Fatalf("got %v", err)
	}
}
