// Package outcome names why connections end and why attempts fail.
package outcome

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/ambitmesh/ambit/internal/hbone"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// End is how a flow ended. As an error it is the cause of a context that ends flows.
//
//nolint:errname // an end is an error to a context only
type End struct {
	Reason reason.Reason
	Detail string
	Status int // what a refused tunnel is answered with; 0: 503
}

// Error names the reason.
func (o *End) Error() string { return fmt.Sprintf("ended: %s %s", o.Reason, o.Detail) }

// Of reads why a flow's context ended.
func Of(ctx context.Context) End {
	if o, ok := errors.AsType[*End](context.Cause(ctx)); ok {
		return *o
	}
	return End{Reason: reason.Internal, Detail: "ended without a cause"}
}

// The sides of a flow, in details.
const (
	Opener = "client" // who opened it
	Made   = "server" // the leg that was made
)

// Broken judges the error of a leg. That one side resets is its right, and no failure of the mesh.
func Broken(side string, err error) *End {
	switch {
	case errors.Is(err, hbone.ErrConnLost), errors.Is(err, hbone.ErrGone):
		return &End{Reason: reason.TunnelLost, Detail: side + ": " + err.Error()}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ENOTCONN):
		return &End{Detail: resetBy(side)}
	case errors.Is(err, syscall.ETIMEDOUT):
		return &End{Detail: "the " + side + " is gone: " + err.Error()}
	}
	return &End{Reason: reason.Internal, Detail: side + ": " + err.Error()}
}

func resetBy(side string) string {
	if side == Opener {
		return engine.ResetByClient
	}
	return engine.ResetByServer
}

// RefusalStatus is what a tunnel is answered with when a reason, not a plan, refuses it.
func RefusalStatus(r reason.Reason) int {
	switch r {
	case reason.PolicyDeny, reason.PolicyNoAllow, reason.PolicyUnknown, reason.PolicyUnreadable,
		reason.PolicyNeedsL7, reason.PolicyChanged, reason.MTLSRequired:
		return 401
	case reason.BadRequest, reason.Authority:
		return 400
	}
	return 503
}

// Refusal is how a plan refuses.
func Refusal(plan engine.Plan) End {
	o := End{Reason: plan.Reason, Detail: plan.Detail, Status: plan.Status}
	if o.Reason == reason.None {
		o.Reason = reason.Internal
	}
	return o
}
