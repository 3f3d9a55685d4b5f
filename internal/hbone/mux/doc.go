// Package mux is the HTTP/2 endpoint of internal/hbone as a state machine, for event loops: server and
// client, the same wire, limits and errors, but without I/O, goroutines or locks.
//
// The owner of a Conn hands it what the peer sent, in any pieces (Receive), is called back for what
// that means (Handler), and finds what is to be sent in its Out. Time comes from Config.Now and Tick.
// A Conn and its streams belong to one goroutine. Handlers may call any of their methods but Receive
// and Tick; what a handler is given is valid during the call only.
//
// Flow of a turn of the owner's loop:
//
//	c.Receive(plaintext)                // handlers run
//	s.Want()                            // for each stream whose socket has something to read
//	for out.Buffered() < enough {       // bulk takes turns, what is sparse goes first
//		s, most := c.Turn()
//		if s == nil { break }
//		b := out.Space(h2.FrameHeader + 1)
//		n := read the socket into b[h2.FrameHeader:], at most min(most, h2.MaxData) bytes
//		s.PutHeader(b, n, false)
//		out.Advance(h2.FrameHeader + n)
//		if there may be more { s.Want() }
//	}
//	n := write out's bytes to the socket; c.Sent(n)
//	if c.Err() != nil && nothing is left to write { close the socket }
package mux
