package engine

import (
	"context"

	"github.com/ambitmesh/ambit/internal/reason"
)

// Decider decides. Its methods are synchronous, do not block, and allocate little; they may be called
// from many goroutines at once, but for one Record by one at a time.
//
// The order of calls for one Record: Accepted or Connect (again after each Wait), then for each attempt
// Dialed (which may give another attempt or refuse), Established once if an attempt succeeded, Answered
// at most once, and Closed exactly once, whatever happened.
type Decider interface {
	// Accepted judges a captured connection (Inbound, Outbound).
	Accepted(*Record) Plan
	// Connect judges a tunnel to the pod (HBONE). r.Peer is verified, r.Request is well-formed.
	Connect(*Record) Plan
	// Dialed is told of a failed attempt and gives the next plan: another endpoint, or refuse.
	Dialed(*Record, *DialError) Plan
	// Established is told that the attempt succeeded: the relay begins now. The record is already among
	// those that Recheck visits. It may let go of the requests in the record: the engine needs them no more.
	Established(*Record)
	// Answered is told of the first byte back.
	Answered(*Record)
	// Closed is told of the end, with Reason, Ended and the counters set: metrics, log, ejection.
	// It is the only call for what the engine refuses by itself: a failed handshake (Request is nil), a
	// malformed request, a limit, a loop.
	Closed(*Record)
	// Rejudge judges a live record again; ok false ends it with the reason.
	Rejudge(*Record) (why reason.Reason, ok bool)
}

// Listener is one listening socket of a pod.
type Listener struct {
	Pod  *Pod
	Kind Kind
	FD   int // listening, non-blocking; the engine's from Serve on, also if Serve fails
}

// Engine accepts, dials and relays. Safe for concurrent use.
type Engine interface {
	// Serve begins to accept on l.
	Serve(l Listener) error
	// Remove stops accepting for the pod and ends all that it has, with the reason. It returns when no
	// goroutine uses the Pod's namespace any more.
	Remove(p *Pod, why reason.Reason)
	// Recheck calls Rejudge for every established record and ends those that are not ok. It also ends
	// (by GOAWAY) tunnel connections whose peer's certificate no longer chains to the current roots.
	Recheck()
	// Each calls f for every established record until f returns false. Records must not be kept.
	Each(f func(*Record) bool)
	// Kill ends one established record.
	Kill(id uint64, why reason.Reason)
	// Drain stops accepting, sends GOAWAY on tunnel connections from peers, and returns when the last
	// connection has ended; when ctx ends first, what is left is cut with reason.Drain.
	Drain(ctx context.Context) error
	// Close cuts everything at once.
	Close() error
}
