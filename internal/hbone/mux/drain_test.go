package mux

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone"
)

func TestGoAwayDrains(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	cs, ss := dial(t, c, s)
	s.GoAway()
	s.GoAway()
	late, err := c.Open(&hbone.Request{Authority: "late:1"}, nil) // it cannot know yet
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, c, s)
	if c.Room() != 0 || !c.Draining() || len(s.ev.open) != 2 {
		t.Errorf("room %d, draining %v, %d streams opened", c.Room(), c.Draining(), len(s.ev.open))
	}
	if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); !errors.Is(err, hbone.ErrNoRoom) {
		t.Errorf("open: %v", err)
	}
	late.Reset(http2.ErrCodeCancel)
	cs.Write([]byte("still"))
	exchange(t, c, s)
	if string(s.ev.data[1]) != "still" || s.Err() != nil || c.Err() != nil {
		t.Fatalf("%q, %v, %v", s.ev.data[1], s.Err(), c.Err())
	}
	cs.End()
	exchange(t, c, s)
	ss.End()
	exchange(t, c, s)
	if !errors.Is(s.Err(), hbone.ErrGone) || !errors.Is(c.Err(), hbone.ErrGone) {
		t.Errorf("ended with %v and %v", s.Err(), c.Err())
	}
}

func TestGoAwayOfClient(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{})
	cs, ss := dial(t, c, s)
	c.GoAway()
	if c.Room() != 0 {
		t.Error("room after GOAWAY")
	}
	cs.Write([]byte("x"))
	exchange(t, c, s)
	ss.Close()
	exchange(t, c, s)
	if !errors.Is(c.Err(), hbone.ErrGone) {
		t.Errorf("ended with %v", c.Err())
	}
	idle := newEnd(false, hbone.Config{})
	if idle.GoAway(); !errors.Is(idle.Err(), hbone.ErrGone) {
		t.Errorf("without streams: %v", idle.Err())
	}
}

// TestGoAwayUnanswered: a server that leaves waits a second, not for ever, for its peer to know.
func TestGoAwayUnanswered(t *testing.T) {
	now := time.Unix(1, 0)
	s := newEnd(true, hbone.Config{Now: func() time.Time { return now }})
	r := newRogue(true)
	_ = r.WriteHeaders(request(1, false))
	_ = s.Receive(r.take())
	s.GoAway()
	if want := now.Add(time.Second); !s.Next().Equal(want) {
		t.Errorf("due at %v, want %v", s.Next(), want)
	}
	_ = r.WriteHeaders(request(3, false))
	_ = s.Receive(r.take())
	if now = s.Next(); s.Tick(now) != nil || len(s.ev.open) != 2 {
		t.Fatalf("%v, %d streams", s.Err(), len(s.ev.open))
	}
	_ = r.WriteHeaders(request(5, false))
	_ = s.Receive(r.take())
	if code := resetCode(t, s.out.take()); code != http2.ErrCodeRefusedStream || len(s.ev.open) != 2 {
		t.Errorf("after the last: %v, %d streams", code, len(s.ev.open))
	}
	for _, st := range s.ev.open {
		st.Reset(http2.ErrCodeCancel)
	}
	if s.Turn(); !errors.Is(s.Err(), hbone.ErrGone) {
		t.Errorf("ended with %v", s.Err())
	}
}

// TestPeerLeaves: streams beyond the last that a peer serves were not acted on.
func TestPeerLeaves(t *testing.T) {
	c := newEnd(false, hbone.Config{})
	for range 3 {
		if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	r := newRogue(false)
	_ = r.WriteGoAway(1, http2.ErrCodeNo, nil)
	_ = c.Receive(r.take())
	if c.ev.errs[1] != nil || !errors.Is(c.ev.errs[3], hbone.ErrRefused) || !errors.Is(c.ev.errs[5], hbone.ErrRefused) {
		t.Errorf("%v", c.ev.errs)
	}
	_ = r.WriteGoAway(1, http2.ErrCodeInternal, []byte("oops"))
	_ = c.Receive(r.take())
	if !errors.Is(c.ev.errs[1], hbone.ErrConnLost) || !errors.Is(c.Err(), hbone.ErrConnLost) {
		t.Errorf("%v, %v", c.ev.errs[1], c.Err())
	}
}
