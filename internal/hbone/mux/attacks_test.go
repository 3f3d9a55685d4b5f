package mux

import (
	"golang.org/x/net/http2"
)

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
