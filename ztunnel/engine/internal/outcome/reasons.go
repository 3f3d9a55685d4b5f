package outcome

import (
	"context"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/internal/record"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// DialError names the reason of a failed connect.
func DialError(err error) *engine.DialError {
	return &engine.DialError{Reason: connectReason(err), Err: err}
}

func connectReason(err error) reason.Reason {
	switch {
	case IsTimeout(err):
		return reason.ConnectTimeout
	case Is(err, unix.ECONNREFUSED, unix.ECONNRESET):
		return reason.ConnectRefused
	case Is(err, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN, unix.ECONNABORTED, unix.EINVAL, unix.EADDRNOTAVAIL):
		return reason.Unreachable
	}
	return reason.Internal
}

// Is reports whether err is one of the targets.
func Is(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// IsTimeout reports whether err says that time was up.
func IsTimeout(err error) bool {
	return Is(err, unix.ETIMEDOUT, os.ErrDeadlineExceeded, context.DeadlineExceeded)
}

// TLSReason names the reason of a failed handshake.
func TLSReason(err error) reason.Reason {
	switch {
	case errors.Is(err, identity.ErrTrustDomain):
		return reason.TrustDomain
	case errors.Is(err, identity.ErrWrongPeer):
		return reason.WrongPeer
	}
	return reason.TLSFailure
}

// OpenError names the reason why a tunnel could not be opened on a connection.
func OpenError(err error) *engine.DialError {
	why := reason.TunnelLost
	switch {
	case IsTimeout(err):
		why = reason.ConnectTimeout
	case Is(err, hbone.ErrHeaders, hbone.ErrAuthority):
		why = reason.BadRequest
	case IsAlert(err):
		why = reason.TLSFailure
	}
	return &engine.DialError{Reason: why, Err: err}
}

// IsAlert reports whether the peer ended TLS: in TLS 1.3 it does so after our side of the handshake, if
// it does not like our certificate.
func IsAlert(err error) bool {
	if _, ok := errors.AsType[*record.AlertError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// StatusError names the reason of a tunnel that was answered, but not with 200.
func StatusError(status int) *engine.DialError {
	why := reason.PeerUnavailable
	switch {
	case status == 400 || status == 431:
		why = reason.BadRequest
	case status >= 400 && status < 500:
		why = reason.PeerRefused
	}
	return &engine.DialError{Reason: why, Status: status, Err: hbone.StatusError{Status: status}}
}
