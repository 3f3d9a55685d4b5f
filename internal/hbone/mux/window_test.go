package mux

import (
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// fill sends on a stream until its window is full, and returns how much that was.
func fill(t testing.TB, from, to *end, s *Stream) (sent int) {
	t.Helper()
	for p := make([]byte, 64*kib); ; {
		n := s.Write(p)
		if sent += n; n == 0 {
			return sent
		}
		exchange(t, from, to)
	}
}

func TestWritable(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	s.ev.keep = true
	cs, ss := dial(t, c, s)
	if n := fill(t, c, s, cs); n != h2.DefaultStreamWindow || s.Unread() != n || ss.Unread() != n {
		t.Fatalf("sent %d, unread %d", n, s.Unread())
	}
	ss.Consumed(100)
	exchange(t, c, s)
	if cs.Sendable() != 0 {
		t.Error("credit for little")
	}
	ss.Consumed(h2.DefaultStreamWindow) // more than there is does no harm
	exchange(t, c, s)
	if got := c.ev.log[len(c.ev.log)-1]; got != "1 writable" || cs.Sendable() != h2.DefaultStreamWindow || s.Unread() != 0 {
		t.Errorf("last event %q, sendable %d", got, cs.Sendable())
	}
}

// TestStarved: streams wait for credit on the connection, and all hear of it.
func TestStarved(t *testing.T) {
	c := newEnd(false, hbone.Config{})
	r := newRogue(false)
	_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: mib})
	var all []*Stream
	for range 3 {
		s, err := c.Open(&hbone.Request{Authority: "a:1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	_ = c.Receive(r.take())
	if n := all[0].Write(make([]byte, mib)); n != 65535 {
		t.Fatalf("sent %d", n)
	}
	for _, s := range all {
		if s.Sendable() != 0 {
			t.Error("sendable beyond the connection's window")
		}
		s.Want()
	}
	if s, _ := c.Turn(); s != nil {
		t.Error("a turn without credit")
	}
	_ = r.WriteWindowUpdate(0, 1000)
	_ = c.Receive(r.take())
	if got := c.ev.String(); got != "1 writable\n3 writable\n5 writable" {
		t.Errorf("told %q", got)
	}
	if s, most := c.Turn(); s != all[0] || most != 1000 {
		t.Errorf("turn of %v for %d", s, most)
	}
}

// TestSlowReader: streams that nobody reads cost their window each, and hold up no other.
func TestSlowReader(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	s.ev.keep = true
	for range 19 {
		st, _ := dial(t, c, s)
		fill(t, c, s, st)
	}
	st, ss := dial(t, c, s)
	sent := 0
	for range 32 {
		sent += fill(t, c, s, st)
		ss.Consumed(ss.Unread())
		exchange(t, c, s)
	}
	if sent < 32*h2.DefaultStreamWindow || s.Unread() != 19*h2.DefaultStreamWindow {
		t.Errorf("sent %d, unread %d", sent, s.Unread())
	}
}

// TestSmallBuffer: MaxBuffered bounds all streams together, and nothing is stuck once they are read.
func TestSmallBuffer(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{StreamWindow: 64 * kib, MaxBuffered: 256 * kib})
	s.ev.keep = true
	sent := map[*Stream]int{}
	var all []*Stream
	for range 20 {
		st, _ := dial(t, c, s)
		all = append(all, st)
		sent[st] = fill(t, c, s, st)
	}
	if n := s.Unread(); n > 256*kib || n < 240*kib {
		t.Errorf("buffered %d", n)
	}
	for range 200 {
		for _, ss := range s.ev.open {
			ss.Consumed(ss.Unread())
		}
		exchange(t, c, s)
		for _, st := range all {
			sent[st] += st.Write(make([]byte, min(4*kib, 200*kib-sent[st])))
			exchange(t, c, s)
		}
	}
	for st, n := range sent {
		if n < 200*kib {
			t.Errorf("stream %d sent %d", st.ID(), n)
		}
	}
}

// TestWindowAdapts: a stream whose window and not the path is the limit gets more, up to 4 MiB and a
// share of MaxBuffered, and the connection four times as much as any; a slow reader loses it again.
func TestWindowAdapts(t *testing.T) {
	const rtt = 10 * time.Millisecond
	k := &clock{time.Unix(1, 0)}
	c, s := newEnd(false, hbone.Config{Now: k.now}), newEnd(true, hbone.Config{Now: k.now})
	var st *Stream
	p := make([]byte, 8*mib)
	step := func() { // half a round trip each way
		b := s.flush()
		k.t = k.t.Add(rtt / 2)
		if _ = c.Receive(b); st != nil {
			st.Write(p)
		}
		b = c.flush()
		k.t = k.t.Add(rtt / 2)
		_ = s.Receive(b)
	}
	for range 4 {
		step()
	}
	if s.inflow.RTT != rtt {
		t.Fatalf("round trip is %v", s.inflow.RTT)
	}
	s.ev.opened = func(ss *Stream) { _ = ss.Respond(200) }
	var err error
	if st, err = c.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 60 {
		step()
	}
	before := len(s.ev.data[1])
	for range 10 {
		step()
	}
	if got := (len(s.ev.data[1]) - before) / 10; got < 2*mib || got > 4*mib {
		t.Errorf("%d bytes in a round trip", got)
	}
	if got := s.inflow.RecvWin; got < 12*mib || got > 16*mib {
		t.Errorf("connection's window is %d", got)
	}
	if s.inflow.RTT != rtt {
		t.Errorf("round trip is %v", s.inflow.RTT)
	}
	s.ev.keep = true // the reader stops, and reads on late
	for range 10 {
		step()
	}
	for range 8 {
		k.t = k.t.Add(time.Second)
		s.ev.open[0].Consumed(s.Unread() * 2 / 3)
		step()
	}
	s.ev.open[0].Consumed(s.Unread())
	s.ev.keep = false
	before = len(s.ev.data[1])
	step()
	if got := len(s.ev.data[1]) - before; got > mib {
		t.Errorf("%d bytes in a round trip of a slow reader", got)
	}
}

// TestNewInitialWindow: SETTINGS move the windows of streams that are open, below zero too.
func TestNewInitialWindow(t *testing.T) {
	c := newEnd(false, hbone.Config{})
	st, err := c.Open(&hbone.Request{Authority: "a:1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	st.Write(make([]byte, 1000))
	r := newRogue(false)
	_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 400})
	_ = c.Receive(r.take())
	if n := st.Sendable(); n != 0 {
		t.Errorf("sendable %d", n)
	}
	_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
	_ = c.Receive(r.take())
	if n := st.Sendable(); n != 0 || len(c.ev.log) != 0 {
		t.Errorf("sendable %d; %v", n, c.ev)
	}
	_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1010})
	_ = c.Receive(r.take())
	if n := st.Sendable(); n != 10 || c.ev.String() != "1 writable" {
		t.Errorf("sendable %d; %v", n, c.ev)
	}
}
