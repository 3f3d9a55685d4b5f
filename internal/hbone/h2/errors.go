package h2

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/net/http2"
)

// The ways a tunnel or its connection fails: internal/hbone says what each means.
var (
	ErrReset    = errors.New("stream reset by peer")
	ErrRefused  = errors.New("stream refused by peer")
	ErrConnLost = errors.New("tunnel connection lost")
	ErrNoRoom   = errors.New("no room for another stream")
	ErrHeaders  = errors.New("bad header list")
	ErrGone     = errors.New("tunnel connection closed")
)

// What finds a dead peer.
var (
	ErrPingTimeout = errors.New("ping was not answered")
	ErrStuck       = errors.New("peer takes no data")
	ErrNoSettings  = errors.New("no SETTINGS in time")
)

// ErrBudget is a ConnError for a header block beyond Config.Budget.
var ErrBudget error = ConnError{http2.ErrCodeEnhanceYourCalm, "endless header block"}

// ResetError is the peer's RST_STREAM.
type ResetError struct{ Code http2.ErrCode }

func (e ResetError) Error() string { return fmt.Sprintf("%v: %v", ErrReset, e.Code) }

// Is matches ErrReset and ECONNRESET always, and ErrRefused where the peer did nothing (RFC 9113 8.7).
func (e ResetError) Is(target error) bool {
	return target == ErrReset || target == syscall.ECONNRESET ||
		target == ErrRefused && e.Code == http2.ErrCodeRefusedStream
}

// ConnError ends the whole connection with a GOAWAY.
type ConnError struct {
	Code http2.ErrCode
	What string
}

func (e ConnError) Error() string { return fmt.Sprintf("%s (%v)", e.What, e.Code) }

// Fatal returns a ConnError.
func Fatal(code http2.ErrCode, what string) error { return ConnError{code, what} }

// Protocolf returns a ConnError with PROTOCOL_ERROR.
func Protocolf(format string, a ...any) error {
	return ConnError{http2.ErrCodeProtocol, fmt.Sprintf(format, a...)}
}

// Lost wraps why a connection broke into an ErrConnLost.
func Lost(cause error) error { return fmt.Errorf("%w: %w", ErrConnLost, cause) }

// Broken says that a stream was reset for what its peer did.
func Broken(why error) error { return fmt.Errorf("tunnel broken by its peer: %w", why) }

// MapReadError turns the errors of x/net/http2's Framer into ConnError.
func MapReadError(err error) error {
	var code http2.ConnectionError
	switch {
	case errors.Is(err, http2.ErrFrameTooLarge):
		return ConnError{http2.ErrCodeFrameSize, "frame too large"}
	case errors.As(err, &code):
		return ConnError{http2.ErrCode(code), "malformed frame"}
	}
	return err
}
