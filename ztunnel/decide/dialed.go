package decide

import (
	"errors"
	"syscall"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Dialed implements engine.Decider: it tells the balancer of the failure, and gives another endpoint
// where nothing that the client sent can have been acted upon.
func (d *Decider) Dialed(r *engine.Record, err *engine.DialError) engine.Plan {
	st := of(r)
	st.give(outcomeOf(err))
	if r.Service != nil && r.Kind == engine.Outbound && retriable(err.Reason) && d.inTime(r) {
		if p, ok := d.retry(r, st); ok {
			return p
		}
	}
	return engine.Plan{Action: engine.Refuse, Reason: err.Reason, Detail: err.Error(), Status: 503}
}

func (d *Decider) inTime(r *engine.Record) bool {
	return int(r.Attempts) < d.opts.Attempts && d.opts.Now().Sub(r.Accepted) < d.opts.RetryWithin
}

// retry routes the connection anew, to an endpoint of the same service that was not tried.
func (d *Decider) retry(r *engine.Record, st *state) (engine.Plan, bool) {
	snap := d.opts.Store.Snapshot()
	from, f := own(snap, r.Pod)
	if !f.none() || r.To == nil {
		return engine.Plan{}, false
	}
	st.more().tried = append(st.more().tried, r.To)
	c := d.call(snap, r, st)
	c.from = from
	rt := d.route(c)
	if !rt.none() || rt.to == nil || rt.service == nil || rt.service.Key != r.Service.Key {
		rt.lease.Release() // what the first failure was is what the record should say
		return engine.Plan{}, false
	}
	r.From = from
	return d.follow(r, st, &rt, nil), true
}

// retriable reports whether a failure leaves no doubt that the endpoint acted on nothing: it could not
// be reached, could not prove who it is, or said 503. After a 401, a reset or a lost tunnel there is
// doubt, or no sense, in asking elsewhere.
func retriable(why reason.Reason) bool {
	switch why {
	case reason.ConnectRefused, reason.ConnectTimeout, reason.Unreachable, reason.TLSFailure,
		reason.TrustDomain, reason.WrongPeer, reason.PeerUnavailable:
		return true
	}
	return false
}

// outcomeOf is what a failed dial says of the endpoint.
func outcomeOf(err *engine.DialError) balance.Outcome {
	if ownFault(err) {
		return balance.Neutral
	}
	switch err.Reason {
	case reason.ConnectRefused:
		return balance.Refused
	case reason.ConnectTimeout, reason.Unreachable:
		return balance.TimedOut
	case reason.TLSFailure, reason.TrustDomain, reason.WrongPeer:
		return balance.TLSFailure
	case reason.PeerUnavailable:
		return balance.Unavailable
	case reason.TunnelLost:
		return balance.EarlyReset
	}
	return balance.Neutral
}

// ownFault reports whether the connect failed before a packet was sent, for want of a route or a port
// in the caller's own namespace. A pod can bring that about at will; it must not eject an endpoint.
func ownFault(err *engine.DialError) bool {
	for _, e := range [...]error{syscall.EADDRNOTAVAIL, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EINVAL, syscall.EACCES, syscall.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
