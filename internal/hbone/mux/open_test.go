package mux

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
)

func TestMaxStreams(t *testing.T) {
	c, s := newEnd(false, hbone.Config{}), newEnd(true, hbone.Config{MaxStreams: 2})
	for range 3 { // before the client knows the limit
		if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, c, s)
	if !errors.Is(c.ev.errs[5], hbone.ErrRefused) || len(c.ev.errs) != 1 {
		t.Errorf("third: %v", c.ev.errs)
	}
	rooms := c.ev.rooms
	if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); !errors.Is(err, hbone.ErrNoRoom) {
		t.Errorf("with the limit known: %v", err)
	}
	s.ev.open[0].Reset(http2.ErrCodeCancel)
	exchange(t, c, s)
	if c.ev.rooms != rooms+1 || c.Room() != 1 {
		t.Errorf("told of room %d times, %d now", c.ev.rooms-rooms, c.Room())
	}
}

func TestRoomBySettings(t *testing.T) {
	c := newEnd(false, hbone.Config{})
	r := newRogue(false)
	_ = c.Receive(r.take())
	if c.ev.rooms != 1 || c.Room() != 100 {
		t.Errorf("told %d times, room %d", c.ev.rooms, c.Room())
	}
	_ = r.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
	_ = c.Receive(r.take())
	if c.Room() != 0 {
		t.Error("room for none")
	}
	_ = r.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 7})
	_ = c.Receive(r.take())
	if c.ev.rooms != 2 || c.Room() != 7 {
		t.Errorf("told %d times, room %d", c.ev.rooms, c.Room())
	}
}

func TestHeaderLimits(t *testing.T) {
	c, s := pair(t, hbone.Config{}, hbone.Config{MaxHeaderList: 2000})
	big := &hbone.Request{Authority: "a:1", Baggage: strings.Repeat("a", 1500), Forwarded: strings.Repeat("b", 1500)}
	if _, err := c.Open(big, nil); !errors.Is(err, hbone.ErrHeaders) {
		t.Fatalf("beyond the peer's limit: %v", err)
	}
	c.peer.HeaderList = 1 << 30 // a peer that does not care
	if _, err := c.Open(big, nil); err != nil {
		t.Fatal(err)
	}
	exchange(t, c, s)
	if c.ev.status[1] != 431 || len(s.ev.bad) != 1 || !errors.Is(s.ev.bad[0], hbone.ErrHeaders) {
		t.Errorf("status %d, %v", c.ev.status[1], s.ev.bad)
	}
	dial(t, c, s) // the connection lives
}

// TestContinuation sends a header list of several frames, in pieces.
func TestContinuation(t *testing.T) {
	for _, piece := range []int{1, 9, 5000, 1 << 20} {
		c, s := pair(t, hbone.Config{}, hbone.Config{})
		baggage := strings.Repeat("0123456789", 6000)
		if _, err := c.Open(&hbone.Request{Authority: "a:1", Baggage: baggage}, nil); err != nil {
			t.Fatal(err)
		}
		feed(s, c.flush(), piece)
		if s.Err() != nil || s.ev.req == nil || s.ev.req.Baggage != baggage || s.part != nil {
			t.Errorf("in pieces of %d: %v, %v", piece, s.Err(), s.ev)
		}
	}
}

// TestBadRequests: the endpoint itself answers what is no tunnel, and goes on.
func TestBadRequests(t *testing.T) {
	for name, fields := range map[string][]string{
		"get":           {":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a:1"},
		"no authority":  {":method", "CONNECT"},
		"bad authority": {":method", "CONNECT", ":authority", "1.2.3:80"},
		"a path":        {":method", "CONNECT", ":authority", "a:1", ":path", "/"},
		"upper case":    {":method", "CONNECT", ":authority", "a:1", "Baggage", "a"},
		"bad value":     {":method", "CONNECT", ":authority", "a:1", "x", "\x00"},
		"connection":    {":method", "CONNECT", ":authority", "a:1", "connection", "close"},
		"pseudo last":   {":method", "CONNECT", "x", "y", ":authority", "a:1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newEnd(true, hbone.Config{})
			r := newRogue(true)
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(fields...), EndHeaders: true})
			_ = r.WriteData(1, true, []byte("body"))
			if err := s.Receive(r.take()); err != nil {
				t.Fatal(err)
			}
			if got := statusIn(t, s.out.take()); got != "400" || len(s.ev.bad) != 1 || len(s.ev.open) != 0 {
				t.Errorf("status %s, told %v, opened %d", got, s.ev.bad, len(s.ev.open))
			}
		})
	}
}

func encode(kv ...string) []byte {
	var b strings.Builder
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(kv); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return []byte(b.String())
}

func statusIn(t *testing.T, b []byte) string {
	t.Helper()
	for f := range framesIn(b) {
		if h, ok := f.(*http2.HeadersFrame); ok {
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(h.HeaderBlockFragment())
			if err != nil || !h.StreamEnded() {
				t.Errorf("answer: %v, ended %v", err, h.StreamEnded())
			}
			return hbone.GetHeader(fields, ":status")
		}
	}
	return "none"
}

// TestOddAnswers: a client breaks off what is no answer, and passes 1xx over.
func TestOddAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		fields []string
		end    bool
		ok     bool
	}{
		"none":       {fields: []string{"x", "y"}},
		"words":      {fields: []string{":status", "abc"}},
		"long":       {fields: []string{":status", "2000"}},
		"switching":  {fields: []string{":status", "101"}},
		"ended 1xx":  {fields: []string{":status", "103"}, end: true},
		"1xx":        {fields: []string{":status", "103"}, ok: true},
		"ended 200":  {fields: []string{":status", "200"}, end: true, ok: true},
		"ended 503":  {fields: []string{":status", "503"}, end: true, ok: true},
		"two pseudo": {fields: []string{":status", "200", ":status", "200"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newEnd(false, hbone.Config{})
			if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
				t.Fatal(err)
			}
			r := newRogue(false)
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(tc.fields...), EndHeaders: true, EndStream: tc.end})
			if err := c.Receive(r.take()); err != nil {
				t.Fatal(err)
			}
			if (c.ev.errs[1] == nil) != tc.ok {
				t.Errorf("%v", c.ev)
			}
		})
	}
}
