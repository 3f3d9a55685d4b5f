package mux

import (
	"golang.org/x/net/http2/hpack"

	"github.com/ambitmesh/ambit/internal/hbone"
)

// Out takes what is to be sent, in order. internal/record's Writer is one.
type Out interface {
	// Space returns room for at least min bytes (min <= 16 KiB), valid until the next call.
	Space(min int) []byte
	// Advance says that n bytes of the last Space are filled.
	Advance(n int)
	// Buffered is the number of bytes that the peer's socket has not taken yet.
	Buffered() int
}

// Handler is called for what the peer does, from within Receive, Tick, Turn, Fail and Close. No call
// follows for a stream that the owner has reset or closed.
type Handler interface {
	// Opened has a server's new tunnel, a well-formed CONNECT: answer it by Respond, at once or later.
	// The request is the owner's.
	Opened(s *Stream, req *hbone.Request)
	// Answered has the answer to a client's request. Unless status is 200 there is no tunnel and the
	// stream is to be closed.
	Answered(s *Stream, status int, fields []hpack.HeaderField)
	// Data has bytes of the tunnel, part of the record given to Receive. What the owner cannot pass on
	// at once it copies. All of it, passed on or copied, is to be Consumed once it is passed on.
	Data(s *Stream, p []byte)
	// End says that the peer has ended its side. Our side goes on.
	End(s *Stream)
	// Broken says that the tunnel is no more: reset by the peer (hbone.ErrReset, hbone.ErrRefused),
	// broken for what the peer did, or with its connection (hbone.ErrConnLost, hbone.ErrGone). It can
	// follow End, as RST_STREAM with NO_ERROR does. Nothing more is to be Consumed.
	Broken(s *Stream, err error)
	// Writable says that a stream whose Sendable was 0 may send again.
	Writable(s *Stream)
	// Room says that a client may open streams: after the peer's first SETTINGS, and when there is room
	// again after there was none.
	Room()
	// BadRequest is told why a request was answered 400 or 431 by the endpoint itself.
	BadRequest(err error)
}
