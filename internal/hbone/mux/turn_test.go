package mux

import (
	"testing"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// busy returns a client with open streams and large windows.
func busy(t testing.TB, streams int) (*end, []*Stream) {
	t.Helper()
	c := newEnd(false, hbone.Config{})
	r := newRogue(false)
	_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	_ = r.WriteWindowUpdate(0, 1<<30)
	_ = c.Receive(r.take())
	all := make([]*Stream, streams)
	for i := range all {
		var err error
		if all[i], err = c.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return c, all
}

// turn gives out one turn, in which the stream sends all it may, and returns whose it was.
func turn(c *end, buf []byte) *Stream {
	s, most := c.Turn()
	if s != nil {
		s.Write(buf[:min(most, len(buf))])
		c.out.take()
	}
	return s
}

// TestPingBeforeBulk: a message has the next turn, however many streams send bulk.
func TestPingBeforeBulk(t *testing.T) {
	c, all := busy(t, 11)
	ping, bulk := all[0], all[1:]
	for _, s := range bulk {
		s.Want()
	}
	for range 2*len(bulk) + 1 {
		turn(c, make([]byte, Quantum)).Want()
	}
	for i := range 1000 {
		if i%2 == 0 {
			ping.Want()
		}
		s := turn(c, make([]byte, Quantum))
		if (s == ping) != (i%2 == 0) {
			t.Fatalf("turn %d is stream %d's", i, s.ID())
		}
		if s != ping {
			s.Want()
		}
	}
}

// TestBulkIsFair: bulk streams send alike.
func TestBulkIsFair(t *testing.T) {
	c, all := busy(t, 5)
	sent := map[*Stream]int{}
	for _, s := range all {
		s.Want()
	}
	for range 500 {
		s := turn(c, make([]byte, Quantum))
		sent[s]++
		s.Want()
	}
	for _, s := range all {
		if sent[s] < 97 || sent[s] > 103 {
			t.Errorf("stream %d had %d turns", s.ID(), sent[s])
		}
	}
}

// TestBulkIsNotStarved: many streams with messages leave bulk its share.
func TestBulkIsNotStarved(t *testing.T) {
	c, all := busy(t, 50)
	bulk, pings := all[0], all[1:]
	bulk.Want()
	got := 0
	for range 2000 {
		for _, s := range pings {
			if s != c.turn {
				s.Want() // each has something again soon
			}
		}
		if s := turn(c, make([]byte, Quantum/4)); s == bulk {
			got++
			bulk.Want()
		}
	}
	if got < 2000/5-1 { // four messages overtake, then it is bulk's turn
		t.Errorf("bulk had %d of 2000 turns", got)
	}
}

// TestTurnsOfTheGone: streams that have ended have no turn.
func TestTurnsOfTheGone(t *testing.T) {
	c, all := busy(t, 4)
	for _, s := range all {
		s.Want()
		s.Want()
	}
	all[0].Reset(http2.ErrCodeCancel)
	all[1].End()
	if s := turn(c, make([]byte, Quantum)); s != all[2] {
		t.Errorf("first turn: %v", s)
	}
	all[3].Reset(http2.ErrCodeCancel)
	if s := turn(c, nil); s != nil {
		t.Errorf("second turn: %v", s)
	}
	all[2].Want()
	if s := turn(c, make([]byte, Quantum)); s != all[2] {
		t.Error("no turn after rest")
	}
}
