package h2

import (
	"testing"
	"time"
)

// path is a stream whose bytes come, and are read, as a test says.
type path struct {
	now time.Time
	c   Inflow
	f   Flow
}

func newPath(rtt time.Duration) *path {
	p := &path{now: time.Unix(1, 0)}
	cfg := Config{Now: func() time.Time { return p.now }}.WithDefaults(true)
	p.c = NewInflow(&cfg)
	p.f = p.c.Stream()
	p.c.Sample(rtt)
	return p
}

// read has n bytes come and be read after some time.
func (p *path) read(n int, after time.Duration) {
	p.now = p.now.Add(after)
	p.c.RecvWin -= int64(n)
	p.f.RecvWin -= int32(n)
	p.c.Received(&p.f, n)
	p.c.Read(&p.f, n)
	p.c.Refill(&p.f)
	p.c.Grant()
}

// TestWindowFollowsRate: the window is at least four times, and less than eight times, what comes in a
// round trip, within its limits.
func TestWindowFollowsRate(t *testing.T) {
	for _, tc := range []struct {
		rtt  time.Duration
		rate int64 // bytes a second
		want int32
	}{
		{rtt: 100 * time.Microsecond, rate: 500 << 20, want: 256 * kib},
		{rtt: time.Millisecond, rate: 1 << 20, want: 256 * kib},
		{rtt: time.Millisecond, rate: 200 << 20, want: mib},
		{rtt: 20 * time.Millisecond, rate: 1 << 30, want: 4 * mib},
	} {
		p := newPath(tc.rtt)
		for range 20000 {
			p.read(16*kib, time.Duration(16*kib*int64(time.Second)/tc.rate))
		}
		if p.f.window != tc.want || p.c.window < 4*int64(p.f.window) {
			t.Errorf("round trip %v, %d bytes/s: window %d, want %d; the connection's %d", tc.rtt, tc.rate, p.f.window, tc.want, p.c.window)
		}
		p.c.Ungrow(&p.f)
		if p.c.grown != 0 {
			t.Errorf("%d bytes stay lent", p.c.grown)
		}
	}
}

// TestBurstsAreNotSpeed: what is read in one go, because the reader was late, came no faster.
func TestBurstsAreNotSpeed(t *testing.T) {
	p := newPath(60 * time.Microsecond)
	for range 1000 {
		p.read(128*kib, 450*time.Microsecond)
		p.read(128*kib, 25*time.Microsecond)
	}
	if p.f.window != DefaultStreamWindow {
		t.Errorf("window %d", p.f.window)
	}
}

// TestSlowReaderLosesWindow: who leaves a quarter of its window unread and reads slowly gets less again.
func TestSlowReaderLosesWindow(t *testing.T) {
	p := newPath(time.Millisecond)
	for range 1000 {
		p.read(64*kib, 100*time.Microsecond)
	}
	wide := p.f.window
	p.f.RecvWin -= wide / 2
	p.c.Received(&p.f, int(wide/2))
	for range 100 {
		p.read(128*kib, time.Second)
	}
	if wide < 2*mib || p.f.window > wide/2 || p.f.window < DefaultStreamWindow {
		t.Errorf("window %d, then %d", wide, p.f.window)
	}
}

// TestLentWindows: together windows grow by no more than half of MaxBuffered.
func TestLentWindows(t *testing.T) {
	p := newPath(50 * time.Millisecond)
	for range 20 {
		p.f = p.c.Stream()
		for range 1000 {
			p.read(64*kib, time.Millisecond)
		}
	}
	if most := int64(defaultMaxBuffered / 2); p.c.grown > most || p.c.grown < most-4*mib {
		t.Errorf("%d bytes are lent, of at most %d", p.c.grown, most)
	}
}
