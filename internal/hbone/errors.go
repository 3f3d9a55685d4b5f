package hbone

import "github.com/ambitmesh/ambit/internal/hbone/h2"

// The ways a tunnel or its connection fails. Compare with errors.Is.
var (
	// ErrReset says that the peer reset the stream (also errors.Is syscall.ECONNRESET).
	ErrReset = h2.ErrReset
	// ErrRefused says that the peer did not act on the stream: it may be opened again elsewhere.
	ErrRefused = h2.ErrRefused
	// ErrConnLost says that the connection under the stream broke.
	ErrConnLost = h2.ErrConnLost
	// ErrNoRoom says that the connection takes no further streams now.
	ErrNoRoom = h2.ErrNoRoom
	// ErrHeaders says that a header list is malformed or larger than the peer accepts.
	ErrHeaders = h2.ErrHeaders
	// ErrGone says that the connection was closed in order: by us, or by the peer after its drain.
	ErrGone = h2.ErrGone
)
