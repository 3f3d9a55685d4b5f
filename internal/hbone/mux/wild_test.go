package mux

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// wild are two ends whose owners do anything that they may, at any time, over a link that splits
// everything anyhow.
type wild struct {
	t    *testing.T
	rnd  *rand.Rand
	k    clock
	ends [2]*end
	way  [2][]byte            // bytes on their way from each end
	sent [2]map[uint32][]byte // what each has written
	all  [2][]*Stream
}

// TestWildOwners: the ends agree whatever happens; what arrives is what was sent, and in the end nothing
// is left.
func TestWildOwners(t *testing.T) {
	for seed := range uint64(60) {
		w := newWild(t, seed)
		for range 600 {
			w.act()
		}
		w.rest()
		w.check(seed)
		w.leave(seed)
	}
}

func newWild(t *testing.T, seed uint64) *wild {
	w := &wild{t: t, rnd: rand.New(rand.NewPCG(seed, 2)), k: clock{time.Unix(1, 0)}}
	cfg := hbone.Config{Now: w.k.now, MaxStreams: 20, StreamWindow: 8 * kib, MaxBuffered: 100 * kib, MaxStreamWindow: 64 * kib}
	for i := range w.ends {
		e := newEnd(i == 1, cfg)
		w.ends[i], w.sent[i] = e, map[uint32][]byte{}
		e.ev.keep = true
		e.ev.opened = func(s *Stream) { w.all[i] = append(w.all[i], s) }
		perhaps := func(s *Stream) {
			if w.rnd.IntN(4) == 0 {
				w.touch(i, s)
			}
		}
		e.ev.answered, e.ev.ended, e.ev.writable = perhaps, perhaps, perhaps
		e.ev.got = func(s *Stream, _ []byte) { perhaps(s) }
	}
	return w
}

func (w *wild) act() {
	i := w.rnd.IntN(2)
	e := w.ends[i]
	switch w.rnd.IntN(12) {
	case 0:
		s, err := w.ends[0].Open(&hbone.Request{Authority: "10.0.0.1:80"}, nil)
		if err == nil {
			w.all[0] = append(w.all[0], s)
		}
	case 1:
		w.pass(e)
	case 2, 3, 4:
		w.carry(i)
	default:
		if n := len(w.all[i]); n > 0 {
			w.touch(i, w.all[i][w.rnd.IntN(n)])
		}
	}
}

// pass lets a little time pass.
func (w *wild) pass(e *end) {
	w.k.t = w.k.t.Add(time.Duration(w.rnd.IntN(300)) * time.Millisecond)
	if !w.k.t.Before(e.Next()) {
		_ = e.Tick(w.k.t)
	}
}

// touch does something with a stream.
func (w *wild) touch(i int, s *Stream) {
	switch w.rnd.IntN(14) {
	case 0:
		_ = s.Respond([]int{200, 200, 200, 503}[w.rnd.IntN(4)])
	case 1:
		s.End()
	case 2:
		if w.rnd.IntN(3) == 0 {
			s.Close()
		}
	case 3:
		if w.rnd.IntN(6) == 0 {
			s.Reset(http2.ErrCodeCancel)
		}
	case 4, 5, 6:
		s.Consumed(w.rnd.IntN(1 + s.Unread()))
	case 7, 8:
		s.Want()
	default:
		p := make([]byte, w.rnd.IntN(5000))
		for j := range p {
			p[j] = byte(w.rnd.Uint32())
		}
		w.sent[i][s.ID()] = append(w.sent[i][s.ID()], p[:s.Write(p)]...)
	}
}

// carry moves some bytes from one end to the other.
func (w *wild) carry(i int) {
	e := w.ends[i]
	for s, most := e.Turn(); s != nil; s, most = e.Turn() {
		p := bytes.Repeat([]byte{byte(s.ID())}, min(most, w.rnd.IntN(3000)))
		w.sent[i][s.ID()] = append(w.sent[i][s.ID()], p[:s.Write(p)]...)
	}
	b := e.out.take()
	e.Sent(len(b))
	w.way[i] = append(w.way[i], b...)
	n := w.rnd.IntN(len(w.way[i]) + 1)
	b, w.way[i] = w.way[i][:n:n], w.way[i][n:]
	feed(w.ends[1-i], b, 1+w.rnd.IntN(5000))
	checkLimits(w.t, w.ends[1-i])
}

// rest closes all that is left.
func (w *wild) rest() {
	for range 400 {
		for i, e := range w.ends {
			for _, s := range w.all[i] {
				if !s.answered {
					_ = s.Respond(200)
				}
				s.Consumed(s.Unread())
				s.End()
			}
			w.carry(i)
			checkLimits(w.t, e)
		}
	}
}

func (w *wild) check(seed uint64) {
	for i, e := range w.ends {
		if e.Err() != nil {
			w.t.Errorf("seed %d: end %d: %v", seed, i, e.Err())
		}
		if e.NumStreams() != 0 || e.Unread() != 0 || e.fresh.head != nil || e.bulk.head != nil {
			w.t.Errorf("seed %d: end %d keeps %d streams, %d bytes", seed, i, e.NumStreams(), e.Unread())
		}
		for id, got := range e.ev.data {
			if !bytes.HasPrefix(w.sent[1-i][id], got) {
				w.t.Errorf("seed %d: stream %d: end %d got what was not sent", seed, id, i)
			}
			if e.ev.errs[id] == nil && !w.reset(id) && len(got) != len(w.sent[1-i][id]) {
				w.t.Errorf("seed %d: stream %d: end %d got %d of %d bytes", seed, id, i, len(got), len(w.sent[1-i][id]))
			}
		}
	}
}

// leave drains the connection.
func (w *wild) leave(seed uint64) {
	w.ends[seed%2].GoAway()
	for range 100 {
		w.carry(0)
		w.carry(1)
	}
	e := w.ends[seed%2]
	w.k.t = w.k.t.Add(h2.FinalAfter) // a client that has nothing more to do does not answer
	_ = e.Tick(w.k.t)
	if !errors.Is(e.Err(), hbone.ErrGone) || !w.ends[1-seed%2].Draining() {
		w.t.Errorf("seed %d: after GOAWAY: %v", seed, e.Err())
	}
}

// reset reports whether either end broke the stream off.
func (w *wild) reset(id uint32) bool {
	for i, e := range w.ends {
		if e.ev.errs[id] != nil {
			return true
		}
		for _, s := range w.all[i] {
			if s.ID() == id && (!s.ended || !s.remoteEnd) {
				return true
			}
		}
	}
	return false
}
