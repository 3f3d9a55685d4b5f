package std

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// outcome is how a flow ended. As an error it is the cause of a context that ends flows.
type outcome struct {
	reason reason.Reason
	detail string
	status int // what a refused tunnel is answered with; 0: 503
}

func (o *outcome) Error() string { return fmt.Sprintf("ended: %s %s", o.reason, o.detail) }

// outcomeOf reads why a flow's context ended.
func outcomeOf(ctx context.Context) outcome {
	if o, ok := errors.AsType[*outcome](context.Cause(ctx)); ok {
		return *o
	}
	return outcome{reason: reason.Internal, detail: "ended without a cause"}
}

// The sides of a flow, in details.
const (
	opener = "client" // who opened it
	made   = "server" // the leg that was made
)

// broken judges the error of a leg. That one side resets is its right, and no failure of the mesh.
func broken(side string, err error) *outcome {
	switch {
	case errors.Is(err, hbone.ErrConnLost), errors.Is(err, hbone.ErrGone):
		return &outcome{reason: reason.TunnelLost, detail: side + ": " + err.Error()}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ENOTCONN):
		return &outcome{detail: resetBy(side)}
	case errors.Is(err, syscall.ETIMEDOUT):
		return &outcome{detail: "the " + side + " is gone: " + err.Error()}
	}
	return &outcome{reason: reason.Internal, detail: side + ": " + err.Error()}
}

func resetBy(side string) string {
	if side == opener {
		return engine.ResetByClient
	}
	return engine.ResetByServer
}

// refusalStatus is what a tunnel is answered with when a reason, not a plan, refuses it.
func refusalStatus(r reason.Reason) int {
	switch r {
	case reason.PolicyDeny, reason.PolicyNoAllow, reason.PolicyUnknown, reason.PolicyUnreadable,
		reason.PolicyNeedsL7, reason.PolicyChanged, reason.MTLSRequired:
		return 401
	case reason.BadRequest, reason.Authority:
		return 400
	}
	return 503
}
