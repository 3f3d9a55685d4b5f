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

// attack is what a rogue client does, frame by frame, until the server has had enough.
type attack struct {
	name  string
	begin func(*rogue)
	again func(r *rogue, i int)
	times int
	want  http2.ErrCode
	mute  bool // the client never reads
	keep  bool // the server's application never reads
}

func attacks() []attack {
	const calm, many = http2.ErrCodeEnhanceYourCalm, 1e5
	return []attack{
		{name: "pings", again: func(r *rogue, _ int) { _ = r.WritePing(false, [8]byte{}) }, times: many, want: calm},
		{name: "pings unread", again: func(r *rogue, _ int) { _ = r.WritePing(false, [8]byte{}) }, times: 1001, want: calm, mute: true},
		{name: "settings", again: func(r *rogue, _ int) { _ = r.WriteSettings() }, times: many, want: calm},
		{name: "settings unread", again: func(r *rogue, _ int) { _ = r.WriteSettings() }, times: 1001, want: calm, mute: true},
		{name: "rapid reset", again: func(r *rogue, i int) {
			_ = r.WriteHeaders(request(uint32(2*i+1), false))
			_ = r.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		}, times: many, want: calm},
		{name: "malformed requests", again: func(r *rogue, i int) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: []byte{0x82}, EndHeaders: true})
		}, times: many, want: calm},
		{name: "too many streams", again: func(r *rogue, i int) {
			_ = r.WriteHeaders(request(uint32(2*i+1), false))
		}, times: many, want: calm},
		{name: "empty data", begin: func(r *rogue) { _ = r.WriteHeaders(request(1, false)) },
			again: func(r *rogue, _ int) { _ = r.WriteData(1, false, nil) }, times: many, want: calm},
		{name: "padding only", begin: func(r *rogue) { _ = r.WriteHeaders(request(1, false)) },
			again: func(r *rogue, _ int) { _ = r.WriteDataPadded(1, false, nil, make([]byte, 9)) }, times: many, want: calm},
		{name: "window updates", again: func(r *rogue, _ int) { _ = r.WriteWindowUpdate(0, 1) }, times: many, want: calm},
		{name: "priorities", again: func(r *rogue, _ int) { _ = r.WritePriority(1, http2.PriorityParam{StreamDep: 3}) }, times: many, want: calm},
		{name: "unknown frames", again: func(r *rogue, _ int) { _ = r.WriteRawFrame(99, 0, 0, nil) }, times: many, want: calm},
		{name: "frames on a closed stream", begin: func(r *rogue) {
			_ = r.WriteHeaders(request(1, false))
			_ = r.WriteRSTStream(1, http2.ErrCodeCancel)
		}, again: func(r *rogue, _ int) { _ = r.WriteData(1, false, []byte("x")) }, times: many, want: calm},
		{name: "empty continuations", begin: func(r *rogue) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: connect()})
		}, again: func(r *rogue, _ int) { _ = r.WriteContinuation(1, false, nil) }, times: many, want: calm},
		{name: "endless headers", begin: func(r *rogue) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: connect()})
		}, again: func(r *rogue, _ int) { _ = r.WriteContinuation(1, false, make([]byte, 16000)) }, times: 100, want: calm},
		{name: "window overflow", again: func(r *rogue, _ int) { _ = r.WriteWindowUpdate(0, 1<<31-1) }, times: 2, want: http2.ErrCodeFlowControl},
		{name: "connection window exceeded", keep: true, again: func(r *rogue, i int) {
			if i%16 == 0 {
				_ = r.WriteHeaders(request(uint32(i/8+1), false))
			}
			_ = r.WriteData(uint32(i/16*2+1), false, make([]byte, 16384))
		}, times: 100, want: http2.ErrCodeFlowControl},
		{name: "data on stream 0", again: func(r *rogue, _ int) { _ = r.WriteData(0, false, []byte("x")) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "data on no stream", again: func(r *rogue, _ int) { _ = r.WriteData(9, false, []byte("x")) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "reset of no stream", again: func(r *rogue, _ int) { _ = r.WriteRSTStream(9, 0) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "window of no stream", again: func(r *rogue, _ int) { _ = r.WriteWindowUpdate(9, 1) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "even stream", again: func(r *rogue, _ int) { _ = r.WriteHeaders(request(2, false)) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "headers on stream 0", again: func(r *rogue, _ int) { _ = r.WriteHeaders(request(0, false)) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "push promise", again: func(r *rogue, _ int) {
			_ = r.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: connect(), EndHeaders: true})
		}, times: 1, want: http2.ErrCodeProtocol},
		{name: "stray continuation", again: func(r *rogue, _ int) { _ = r.WriteContinuation(1, true, nil) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "broken header block", begin: func(r *rogue) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: connect()})
		}, again: func(r *rogue, _ int) { _ = r.WriteData(1, false, nil) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "continuation of another stream", begin: func(r *rogue) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: connect()})
		}, again: func(r *rogue, _ int) { _ = r.WriteContinuation(3, true, nil) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "too much padding", begin: func(r *rogue) { _ = r.WriteHeaders(request(1, false)) },
			again: func(r *rogue, _ int) { _ = r.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{2, 0}) }, times: 1, want: http2.ErrCodeProtocol},
		{name: "no pad length", begin: func(r *rogue) { _ = r.WriteHeaders(request(1, false)) },
			again: func(r *rogue, _ int) { _ = r.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, nil) }, times: 1, want: http2.ErrCodeFrameSize},
		{name: "huge frame", again: func(r *rogue, _ int) { _ = r.WriteRawFrame(99, 0, 0, make([]byte, 20000)) }, times: 1, want: http2.ErrCodeFrameSize},
		{name: "short ping", again: func(r *rogue, _ int) { _ = r.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }, times: 1, want: http2.ErrCodeFrameSize},
		{name: "zero window update", again: func(r *rogue, _ int) {
			_ = r.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4))
		}, times: 1, want: http2.ErrCodeProtocol},
		{name: "bad setting", again: func(r *rogue, _ int) {
			_ = r.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})
		}, times: 1, want: http2.ErrCodeProtocol},
		{name: "bad hpack", again: func(r *rogue, _ int) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
		}, times: 1, want: http2.ErrCodeCompression},
	}
}

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
