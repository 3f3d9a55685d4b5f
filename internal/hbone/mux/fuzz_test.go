package mux

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// seeds are the bytes of connections, without the preface.
func seeds() (all [][]byte) {
	for _, build := range []func(*rogue){
		func(*rogue) {},
		func(r *rogue) { r.b.WriteString("GET / HTTP/1.1\r\n\r\n") },
		func(r *rogue) {
			_ = r.WriteHeaders(request(1, false))
			_ = r.WriteData(1, false, []byte("hello"))
			_ = r.WriteDataPadded(1, true, []byte("x"), make([]byte, 9))
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: encode(":method", "GET", ":path", "/"), EndHeaders: true})
			_ = r.WriteRSTStream(1, http2.ErrCodeCancel)
			_ = r.WriteHeaders(request(5, true))
			_ = r.WriteGoAway(0, http2.ErrCodeNo, nil)
		},
		func(r *rogue) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: connect()[:5]})
			_ = r.WriteContinuation(1, false, nil)
			_ = r.WriteContinuation(1, true, connect()[5:])
			_ = r.WriteDataPadded(1, false, nil, make([]byte, 9))
			_ = r.WriteData(1, false, make([]byte, 3000))
			_ = r.WriteWindowUpdate(1, 1<<31-1)
		},
		func(r *rogue) {
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(":status", "200", "baggage", "a=b"), EndHeaders: true})
			_ = r.WriteData(1, false, []byte("hello"))
			_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode("x-trailer", "1"), EndHeaders: true, EndStream: true})
			_ = r.WriteGoAway(1, http2.ErrCodeNo, []byte("bye"))
			_ = r.WriteWindowUpdate(0, 1<<31-1)
		},
		func(r *rogue) {
			_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: 99, Val: 1})
			_ = r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
			_ = r.WriteSettingsAck()
			_ = r.WritePing(false, [8]byte{})
			_ = r.WritePriority(5, http2.PriorityParam{StreamDep: 5})
			_ = r.WriteRawFrame(77, 3, 9, []byte("unknown"))
			_ = r.WriteWindowUpdate(1, 1<<31-1)
			_ = r.WriteContinuation(1, true, nil)
		},
	} {
		r := newRogue(false)
		build(r)
		all = append(all, r.take())
	}
	return all
}

// FuzzReceive feeds arbitrary bytes to both ends, in pieces of several kinds: none may panic or hold
// more than its limits, and what the owner hears and the peer gets is the same for all.
func FuzzReceive(f *testing.F) {
	for i, s := range seeds() {
		f.Add(s, byte(i+2))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece byte) {
		for _, server := range []bool{true, false} {
			whole := play(t, server, in, len(in)+24)
			for _, n := range []int{1, int(piece) + 1, 9} {
				if diff := cmp.Diff(whole, play(t, server, in, n)); diff != "" {
					t.Errorf("server %v, in pieces of %d:\n%s", server, n, diff)
				}
			}
		}
	})
}

// outcome is what an end made of its input.
type outcome struct {
	Events  string
	Data    map[uint32]string
	Err     string
	Out     []byte
	Streams []uint32
	Unread  int
	Rooms   int
}

// play feeds an end whose owner answers by the streams' numbers, and reads late.
func play(t *testing.T, server bool, in []byte, piece int) outcome {
	cfg := hbone.Config{Now: frozen, MaxStreams: 8, StreamWindow: 4 * kib, MaxBuffered: 64 * kib, MaxHeaderList: 8 * kib}
	e := newEnd(server, cfg)
	e.ev.keep = true
	e.ev.opened = func(s *Stream) {
		switch s.ID() % 3 {
		case 0:
			_ = s.Respond(401)
			s.Close()
		case 1:
			_ = s.Respond(200)
			s.Write([]byte("welcome"))
		}
	}
	e.ev.ended = func(s *Stream) {
		s.Consumed(s.Unread())
		s.End()
	}
	if server {
		in = append([]byte(http2.ClientPreface), in...)
	} else {
		for range 3 {
			if _, err := e.Open(&hbone.Request{Authority: "10.0.0.1:80"}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for len(in) > 0 {
		n := min(piece, len(in))
		_ = e.Receive(in[:n])
		in = in[n:]
		checkLimits(t, e)
	}
	return result(e)
}

func result(e *end) outcome {
	got := outcome{Events: e.ev.String(), Data: map[uint32]string{}, Out: bytes.Clone(e.out.b),
		Streams: slices.Sorted(maps.Keys(e.streams)), Unread: e.Unread(), Rooms: e.ev.rooms}
	for id, p := range e.ev.data {
		got.Data[id] = string(p)
	}
	if e.Err() != nil {
		got.Err = e.Err().Error()
	}
	return got
}

func checkLimits(t *testing.T, e *end) {
	unread := 0
	for id, s := range e.streams {
		if s.gone || s.id != id || s.flow.RecvWin < 0 {
			t.Errorf("stream %d: gone %v, window %d", id, s.gone, s.flow.RecvWin)
		}
		unread += s.Unread()
	}
	switch {
	case len(e.part) > e.cfg.Budget(), len(e.streams) > e.cfg.MaxStreams:
		t.Errorf("%d bytes gathered, %d streams", len(e.part), len(e.streams))
	case e.Unread() > e.cfg.MaxBuffered, e.inflow.RecvWin < 0, e.Err() == nil && unread > e.Unread():
		t.Errorf("%d bytes unread, %d of them streams', window %d", e.Unread(), unread, e.inflow.RecvWin)
	}
}
