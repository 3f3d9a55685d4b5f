package mux

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/hbone/h2"
)

// connect is an hpack block of a valid request that leaves the header table alone.
func connect() []byte {
	block := append([]byte{0x02, 7}, "CONNECT"...) // :method, literal without indexing
	return append(append(block, 0x01, 11), "10.0.0.1:80"...)
}

func request(id uint32, last bool) http2.HeadersFrameParam {
	return http2.HeadersFrameParam{StreamID: id, BlockFragment: connect(), EndHeaders: true, EndStream: last}
}

// frozen is a clock on which no allowance comes back.
func frozen() time.Time { return time.Unix(1, 0) }

// TestHostilePeers: what breaks the protocol or floods costs the connection, with the right code.
func TestHostilePeers(t *testing.T) {
	for _, a := range attacks() {
		for _, piece := range []int{1 << 20, 7} {
			t.Run(fmt.Sprintf("%s/%d", a.name, piece), func(t *testing.T) { mount(t, a, piece) })
		}
	}
}

func mount(t *testing.T, a attack, piece int) {
	s := newEnd(true, hbone.Config{Now: frozen, MaxBuffered: mib})
	s.ev.keep = a.keep
	r := newRogue(true)
	if a.begin != nil {
		a.begin(r)
	}
	for i := 0; i < a.times && s.Err() == nil; i++ {
		a.again(r, i)
		feed(s, r.take(), piece)
		if s.Err() == nil && !a.mute {
			s.flush()
		}
	}
	if !errors.Is(s.Err(), hbone.ErrConnLost) {
		t.Fatalf("the connection goes on: %v", s.Err())
	}
	if code := lastCode(t, s.out.take()); code != a.want {
		t.Errorf("GOAWAY %v, want %v (%v)", code, a.want, s.Err())
	}
	if s.NumStreams() != 0 || s.part != nil {
		t.Errorf("%d streams, %d bytes are left", s.NumStreams(), len(s.part))
	}
}

// feed hands an end bytes in pieces.
func feed(e *end, b []byte, piece int) {
	for len(b) > 0 {
		n := min(piece, len(b))
		_ = e.Receive(b[:n])
		b = b[n:]
	}
}

// lastCode is the code of the last GOAWAY.
func lastCode(t *testing.T, b []byte) http2.ErrCode {
	t.Helper()
	for f := range framesIn(b) {
		if ga, ok := f.(*http2.GoAwayFrame); ok {
			return ga.ErrCode
		}
	}
	t.Fatal("no GOAWAY")
	return 0
}

// TestNotOurProtocol: what is no HTTP/2 gets a GOAWAY as well.
func TestNotOurProtocol(t *testing.T) {
	s := newEnd(true, hbone.Config{})
	s.out.take()
	if err := s.Receive([]byte("GET / HTTP/1.1\r\n\r\n")); !errors.Is(err, hbone.ErrConnLost) {
		t.Errorf("%v", err)
	}
	if code := lastCode(t, s.out.take()); code != http2.ErrCodeProtocol {
		t.Errorf("GOAWAY %v", code)
	}
}

// TestStreamErrors: what concerns one stream costs that stream.
func TestStreamErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*rogue)
		want http2.ErrCode
	}{
		"stream window exceeded": {func(r *rogue) {
			for range 5 {
				_ = r.WriteData(1, false, make([]byte, 16000))
			}
		}, http2.ErrCodeFlowControl},
		"stream window overflow": {func(r *rogue) { _ = r.WriteWindowUpdate(1, 1<<31-1) }, http2.ErrCodeFlowControl},
		"second headers":         {func(r *rogue) { _ = r.WriteHeaders(request(1, false)) }, http2.ErrCodeProtocol},
		"zero window update": {func(r *rogue) {
			_ = r.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, make([]byte, 4))
		}, http2.ErrCodeProtocol},
		"data after end": {func(r *rogue) {
			_ = r.WriteData(1, true, nil)
			_ = r.WriteData(1, false, []byte("x"))
		}, http2.ErrCodeStreamClosed},
	} {
		t.Run(name, func(t *testing.T) {
			s := newEnd(true, hbone.Config{StreamWindow: 64 * kib})
			s.ev.keep = true
			r := newRogue(true)
			_ = r.WriteHeaders(request(1, false))
			tc.do(r)
			if err := s.Receive(r.take()); err != nil {
				t.Fatalf("the connection is lost: %v", err)
			}
			if code := resetCode(t, s.out.take()); code != tc.want {
				t.Errorf("RST_STREAM %v, want %v", code, tc.want)
			}
			if s.ev.errs[1] == nil || s.NumStreams() != 0 || s.Unread() != 0 {
				t.Errorf("owner is told %v; %d streams, %d bytes are left", s.ev.errs[1], s.NumStreams(), s.Unread())
			}
		})
	}
}

func resetCode(t *testing.T, b []byte) http2.ErrCode {
	t.Helper()
	for f := range framesIn(b) {
		if rst, ok := f.(*http2.RSTStreamFrame); ok {
			return rst.ErrCode
		}
	}
	t.Fatal("no RST_STREAM")
	return 0
}

// TestTolerance: what RFC 9113 lets be is passed over.
func TestTolerance(t *testing.T) {
	s := newEnd(true, hbone.Config{})
	s.ev.opened = func(st *Stream) { _ = st.Respond(200) }
	s.ev.ended = func(st *Stream) { st.End() }
	r := newRogue(true)
	_ = r.WriteRawFrame(99, 7, 3, []byte("unknown"))
	_ = r.WritePriority(1, http2.PriorityParam{StreamDep: 3})
	_ = r.WriteSettings(http2.Setting{ID: 0x99, Val: 1})
	_ = r.WriteHeaders(request(1, false))
	_ = r.WriteDataPadded(1, false, []byte("x"), make([]byte, 100))
	_ = r.WriteHeaders(request(1, true)) // trailers with pseudo fields are still an end
	_ = r.WriteWindowUpdate(1, 1)        // for a closed stream
	_ = r.WriteRSTStream(1, 0)
	feed(s, r.take(), 3)
	if s.Err() != nil || s.NumStreams() != 0 || string(s.ev.data[1]) != "x" {
		t.Errorf("%v, %d streams, %q\n%v", s.Err(), s.NumStreams(), s.ev.data[1], s.ev)
	}
	var last http2.FrameHeader
	for f := range framesIn(s.out.take()) {
		last = f.Header()
	}
	if last.Type != http2.FrameData || last.StreamID != 1 || !last.Flags.Has(http2.FlagDataEndStream) {
		t.Errorf("last frame is %v", last)
	}
}

// TestReplies: a peer that reads our answers, however late, may ask for more.
func TestReplies(t *testing.T) {
	now := time.Unix(1, 0)
	s := newEnd(true, hbone.Config{Now: func() time.Time { return now }})
	r := newRogue(true)
	for range 20 {
		for range 900 {
			_ = r.WritePing(false, [8]byte{})
		}
		if err := s.Receive(r.take()); err != nil {
			t.Fatal(err)
		}
		for b := s.out.take(); len(b) > 0; b = b[min(100, len(b)):] {
			s.Sent(min(100, len(b)))
		}
		now = now.Add(time.Second)
	}
	if errors.Is(s.Err(), h2.ErrStuck) || s.Err() != nil {
		t.Error(s.Err())
	}
}

// TestHostileServers: a client is as strict.
func TestHostileServers(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*rogue)
		want http2.ErrCode
	}{
		"push promise": {func(r *rogue) {
			_ = r.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: connect(), EndHeaders: true})
		}, http2.ErrCodeProtocol},
		"push enabled": {func(r *rogue) {
			_ = r.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1})
		}, http2.ErrCodeProtocol},
		"a stream of its own":        {func(r *rogue) { _ = r.WriteHeaders(request(2, false)) }, http2.ErrCodeProtocol},
		"answer to nothing":          {func(r *rogue) { _ = r.WriteHeaders(request(3, false)) }, http2.ErrCodeProtocol},
		"data on no stream":          {func(r *rogue) { _ = r.WriteData(3, false, []byte("x")) }, http2.ErrCodeProtocol},
		"initial window overflows":   {overflow, http2.ErrCodeFlowControl},
		"initial window is too wide": {func(r *rogue) { _ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }, http2.ErrCodeFlowControl},
		"early answers": {func(r *rogue) {
			for range 5000 {
				_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(":status", "103"), EndHeaders: true})
			}
		}, http2.ErrCodeEnhanceYourCalm},
	} {
		t.Run(name, func(t *testing.T) {
			c := newEnd(false, hbone.Config{Now: frozen})
			if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
				t.Fatal(err)
			}
			r := newRogue(false)
			tc.do(r)
			feed(c, r.take(), 5)
			if code := lastCode(t, c.out.take()); code != tc.want || !errors.Is(c.ev.errs[1], hbone.ErrConnLost) {
				t.Errorf("GOAWAY %v, want %v; stream: %v", code, tc.want, c.ev.errs[1])
			}
		})
	}
}

// overflow widens a stream to its limit, and then all streams.
func overflow(r *rogue) {
	_ = r.WriteWindowUpdate(1, 1<<31-1-65535)
	_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65536})
}

// TestDataBeforeAnswer: bytes of a tunnel that nobody has agreed to break it off.
func TestDataBeforeAnswer(t *testing.T) {
	c := newEnd(false, hbone.Config{})
	if _, err := c.Open(&hbone.Request{Authority: "a:1"}, nil); err != nil {
		t.Fatal(err)
	}
	r := newRogue(false)
	_ = r.WriteData(1, false, []byte("x"))
	if err := c.Receive(r.take()); err != nil || c.ev.errs[1] == nil || len(c.ev.data[1]) != 0 {
		t.Errorf("%v, %v", err, c.ev)
	}
	if code := resetCode(t, c.out.take()); code != http2.ErrCodeProtocol {
		t.Errorf("RST_STREAM %v", code)
	}
}
