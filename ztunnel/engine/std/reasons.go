package std

import (
	"context"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// dialError names the reason of a failed connect.
func dialError(err error) *engine.DialError {
	return &engine.DialError{Reason: connectReason(err), Err: err}
}

func connectReason(err error) reason.Reason {
	switch {
	case isTimeout(err):
		return reason.ConnectTimeout
	case is(err, unix.ECONNREFUSED, unix.ECONNRESET):
		return reason.ConnectRefused
	case is(err, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN, unix.ECONNABORTED, unix.EINVAL, unix.EADDRNOTAVAIL):
		return reason.Unreachable
	}
	return reason.Internal
}

func is(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	return is(err, unix.ETIMEDOUT, os.ErrDeadlineExceeded, context.DeadlineExceeded)
}

// tlsReason names the reason of a failed handshake.
func tlsReason(err error) reason.Reason {
	switch {
	case errors.Is(err, identity.ErrTrustDomain):
		return reason.TrustDomain
	case errors.Is(err, identity.ErrWrongPeer):
		return reason.WrongPeer
	}
	return reason.TLSFailure
}

// openError names the reason why a tunnel could not be opened on a connection.
func openError(err error) *engine.DialError {
	why := reason.TunnelLost
	switch {
	case isTimeout(err):
		why = reason.ConnectTimeout
	case is(err, hbone.ErrHeaders, hbone.ErrAuthority):
		why = reason.BadRequest
	case isAlert(err):
		why = reason.TLSFailure
	}
	return &engine.DialError{Reason: why, Err: err}
}

// isAlert reports whether the peer ended TLS: in TLS 1.3 it does so after our side of the handshake, if
// it does not like our certificate.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// statusError names the reason of a tunnel that was answered, but not with 200.
func statusError(status int) *engine.DialError {
	why := reason.PeerUnavailable
	switch {
	case status == 400 || status == 431:
		why = reason.BadRequest
	case status >= 400 && status < 500:
		why = reason.PeerRefused
	}
	return &engine.DialError{Reason: why, Status: status, Err: hbone.StatusError{Status: status}}
}
