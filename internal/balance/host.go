package balance

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
)

// Defaults for settings that are 0, and the longest ejection (or the base, if that is longer), as
// in Envoy.
const (
	defaultInterval = 10 * time.Second
	defaultBase     = 30 * time.Second
	maxEjection     = 300 * time.Second
)

// maxSources bounds the source pods that are counted apart for one endpoint; the one whose last
// failure is oldest goes.
const maxSources = 64

// host is one endpoint of one service; all under the service's lock.
type host struct {
	service  *service
	uid      string
	addrs    []netip.Addr
	inFlight int

	streak   streak // failures in a row that the whole node shares
	lastOK   time.Time
	lastOKBy string // pod

	ejected  bool
	until    time.Time
	returned time.Time
	times    int

	sources map[string]*source // by pod
}

// streak is a run of failures without a success between them.
type streak struct {
	n     int
	pod   string // of the first
	mixed bool   // others failed too
}

// blame is who saw an outcome.
type blame struct {
	pod      string
	identity identity.ID
}

// source is what one pod saw of the endpoint.
type source struct {
	blame
	n       int // failures in a row
	last    time.Time
	ejected bool // for this pod only
	until   time.Time
	times   int
}

// report counts an outcome. Failures to connect are shared by the node: the proxy saw them itself.
// A reset before the first byte may be what the client wanted, so it counts for its pod alone, and
// for all only when pods of two identities have had enough of it.
func (h *host) report(o Outcome, by blame, now time.Time) []event {
	limit := int(h.service.outlier.ConsecutiveFailures)
	events := h.restore(now)
	switch o {
	case OK:
		h.streak, h.lastOK, h.lastOKBy = streak{}, now, by.pod
		delete(h.sources, by.pod)
	case EarlyReset:
		events = append(events, h.failedFor(by, limit, now)...)
		if limit > 0 && h.agreed(now) {
			events = append(events, h.eject(now)...)
		}
	case Refused, TimedOut, TLSFailure, Unavailable:
		h.count(by.pod)
		switch {
		case limit == 0 || h.streak.n < limit:
		case h.doubtful(now):
			h.streak = streak{}
			events = append(events, h.ejectFor(h.source(by), now)...)
		default:
			events = append(events, h.eject(now)...)
		}
	}
	return events
}

func (h *host) count(pod string) {
	if h.streak.n == 0 {
		h.streak.pod = pod
	}
	h.streak.n++
	h.streak.mixed = h.streak.mixed || pod != h.streak.pod
}

// doubtful reports whether one pod alone fails where another has just succeeded: what that pod does
// to its own network must not eject the endpoint for the others.
func (h *host) doubtful(now time.Time) bool {
	return !h.streak.mixed && h.lastOKBy != h.streak.pod && !h.lastOK.IsZero() && now.Sub(h.lastOK) <= h.interval()
}

// failedFor counts a failure for one pod and ejects the endpoint for it after limit in a row.
func (h *host) failedFor(by blame, limit int, now time.Time) []event {
	src := h.source(by)
	src.n, src.last = src.n+1, now
	if limit == 0 || src.n < limit || src.ejectedAt(now) {
		return nil
	}
	return h.ejectFor(src, now)
}

func (h *host) ejectFor(src *source, now time.Time) []event {
	src.times++
	src.ejected, src.last, src.until = true, now, now.Add(h.duration(src.times))
	st := h.state(now)
	st.Until, st.Times = src.until, src.times
	return []event{{"ejected an endpoint for one pod", src.pod, st}}
}

func (h *host) source(by blame) *source {
	if src := h.sources[by.pod]; src != nil {
		return src
	}
	if h.sources == nil {
		h.sources = map[string]*source{}
	}
	if len(h.sources) >= maxSources {
		h.forgetOldest()
	}
	src := &source{blame: by}
	h.sources[by.pod] = src
	return src
}

func (h *host) forgetOldest() {
	var oldest *source
	for _, s := range h.sources {
		if oldest == nil || s.last.Before(oldest.last) {
			oldest = s
		}
	}
	delete(h.sources, oldest.pod)
}

func (s *source) ejectedAt(now time.Time) bool { return s.ejected && now.Before(s.until) }

// agreed reports whether pods of two identities see the endpoint as ejected.
func (h *host) agreed(now time.Time) bool {
	var one *source
	for _, s := range h.sources {
		switch {
		case !s.ejectedAt(now) || s.identity.IsZero():
		case one == nil:
			one = s
		case s.identity != one.identity:
			return true
		}
	}
	return false
}

func (h *host) eject(now time.Time) []event {
	if h.ejected || !h.service.mayEject(now) {
		return nil
	}
	if h.times > 0 { // one quiet interval takes back one ejection
		h.times = max(0, h.times-int(now.Sub(h.returned)/h.interval()))
	}
	h.times++
	h.ejected, h.until = true, now.Add(h.duration(h.times))
	h.streak, h.sources = streak{}, nil
	return []event{{"ejected an endpoint", "all", h.state(now)}}
}

// restore ends an ejection whose time is over, or that the settings do not ask for any more.
func (h *host) restore(now time.Time) []event {
	off := h.service.outlier.ConsecutiveFailures == 0
	if off {
		h.sources = nil
	}
	if !h.ejected || now.Before(h.until) && !off {
		return nil
	}
	h.ejected, h.returned, h.streak = false, now, streak{}
	return []event{{"restored an endpoint", "all", h.state(now)}}
}

func (h *host) ejectedFor(pod string, now time.Time) bool {
	if h.ejected {
		return true
	}
	s := h.sources[pod]
	if s == nil || !s.ejected {
		return false
	}
	if !now.Before(s.until) { // its time is over: count anew
		s.ejected, s.n = false, 0
		return false
	}
	return true
}

func (h *host) interval() time.Duration {
	if ms := h.service.outlier.IntervalMillis; ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return defaultInterval
}

// duration is base times the number of ejections.
func (h *host) duration(times int) time.Duration {
	base := defaultBase
	if ms := h.service.outlier.BaseEjectionMillis; ms > 0 {
		base = time.Duration(ms) * time.Millisecond
	}
	most := max(base, maxEjection)
	if times > int(most/base) {
		return most
	}
	return base * time.Duration(times)
}

func (h *host) state(now time.Time) EndpointState {
	st := EndpointState{
		Service: h.service.key, Workload: h.uid, InFlight: h.inFlight, Consecutive: h.streak.n,
		Ejected: h.ejected, Times: h.times, From: h.service.outlier.From,
	}
	if h.ejected {
		st.Until = h.until
	}
	for pod, s := range h.sources {
		if s.ejectedAt(now) {
			st.EjectedFor = append(st.EjectedFor, pod)
		}
	}
	slices.Sort(st.EjectedFor)
	return st
}
