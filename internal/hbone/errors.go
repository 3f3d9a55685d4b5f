package hbone

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/net/http2"
)

// The ways a tunnel or its connection fails. Compare with errors.Is.
var (
	// ErrReset says that the peer reset the stream (also errors.Is syscall.ECONNRESET).
	ErrReset = errors.New("stream reset by peer")
	// ErrRefused says that the peer did not act on the stream: it may be opened again elsewhere.
	ErrRefused = errors.New("stream refused by peer")
	// ErrConnLost says that the connection under the stream broke.
	ErrConnLost = errors.New("tunnel connection lost")
	// ErrNoRoom says that the connection takes no further streams now.
	ErrNoRoom = errors.New("no room for another stream")
	// ErrHeaders says that a header list is malformed or larger than the peer accepts.
	ErrHeaders = errors.New("bad header list")
	// ErrGone says that the connection was closed in order: by us, or by the peer after its drain.
	ErrGone = errors.New("tunnel connection closed")
)

// resetError is the peer's RST_STREAM.
type resetError struct{ code http2.ErrCode }

func (e resetError) Error() string { return fmt.Sprintf("%v: %v", ErrReset, e.code) }

// Is matches ErrReset and ECONNRESET always, and ErrRefused where the peer did nothing (RFC 9113 8.7).
func (e resetError) Is(target error) bool {
	return target == ErrReset || target == syscall.ECONNRESET ||
		target == ErrRefused && e.code == http2.ErrCodeRefusedStream
}

// connError ends the whole connection with a GOAWAY.
type connError struct {
	code http2.ErrCode
	what string
}

func (e connError) Error() string { return fmt.Sprintf("%s (%v)", e.what, e.code) }

func lost(cause error) error { return fmt.Errorf("%w: %w", ErrConnLost, cause) }
