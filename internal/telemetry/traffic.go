package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// traffic is the table of istio_tcp_ series.
type traffic struct {
	now     func() time.Time
	idle    time.Duration
	max     int
	dropped atomic.Uint64
	open    [2]atomic.Int64 // by reporter

	mu     sync.RWMutex
	series map[Labels]*series // under mu; at most max and one of unknowns per reporter
	swept  time.Time          // under mu
}

// series is one set of labels with all that is counted for it.
type series struct {
	table    *traffic
	reporter Reporter
	pairs    []*dto.LabelPair

	mu     sync.Mutex // of all below
	totals totals
	live   *Flow // list of open connections
	used   time.Time
}

type totals struct{ opened, closed, received, sent, failed uint64 }

// Bytes are what a connection has carried so far.
type Bytes struct {
	Sent     atomic.Uint64 // from its opener to the other end
	Received atomic.Uint64 // back
}

// Flow is one open connection in one series. The zero Flow is closed. It must not be copied while open.
// There may be very many.
type Flow struct {
	series     *series
	bytes      *Bytes // the connection's own, read at each scrape
	prev, next *Flow
}

// use runs f on the series of l, held.
func (t *traffic) use(l *Labels, f func(*series)) {
	if t.useKnown(l, f) {
		return
	}
	pairs := pairs(trafficLabels, l.values())
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.series[*l]
	if s == nil {
		s = t.add(l, pairs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = t.now()
	f(s)
}

func (t *traffic) useKnown(l *Labels, f func(*series)) bool {
	t.mu.RLock() // held until f is done: sweep must not drop the series in between
	defer t.mu.RUnlock()
	s := t.series[*l]
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = t.now()
	f(s)
	return true
}

// add makes room for a series, or returns the one of unknowns; mu is held.
func (t *traffic) add(l *Labels, pairs []*dto.LabelPair) *series {
	if len(t.series) >= t.max {
		t.sweepFull()
	}
	if len(t.series) >= t.max {
		t.dropped.Add(1)
		return t.unknowns(l.Reporter)
	}
	s := &series{table: t, reporter: l.Reporter, pairs: pairs}
	t.series[*l] = s
	return s
}

func (t *traffic) unknowns(r Reporter) *series {
	l := Labels{Reporter: r}
	s := t.series[l]
	if s == nil {
		s = &series{table: t, reporter: r, pairs: pairs(trafficLabels, l.values())}
		t.series[l] = s
	}
	return s
}

// sweepFull looks for idle series at most once a second: a full table must not cost a walk per
// connection.
func (t *traffic) sweepFull() {
	if t.now().Sub(t.swept) >= time.Second {
		t.sweep()
	}
}

// sweep drops series that nobody has used for a while; mu is held.
func (t *traffic) sweep() {
	now := t.now()
	t.swept = now
	for l, s := range t.series {
		s.mu.Lock()
		gone := s.live == nil && now.Sub(s.used) >= t.idle
		s.mu.Unlock()
		if gone {
			delete(t.series, l)
		}
	}
}

func (f *Flow) link(s *series) {
	f.series, f.next = s, s.live
	if s.live != nil {
		s.live.prev = f
	}
	s.live = f
	s.totals.opened++
}

// Close ends the connection's part in its series. Closing twice does nothing.
func (f *Flow) Close() {
	s := f.series
	if s == nil {
		return
	}
	s.mu.Lock()
	s.totals.closed++
	s.totals.received += f.bytes.Sent.Load()
	s.totals.sent += f.bytes.Received.Load()
	s.used = s.table.now()
	if f.next != nil {
		f.next.prev = f.prev
	}
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		s.live = f.next
	}
	s.mu.Unlock()
	s.table.open[s.reporter].Add(-1)
	*f = Flow{}
}

// read returns the totals with the bytes of connections that are open.
func (s *series) read() totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.totals
	for f := s.live; f != nil; f = f.next {
		sum.received += f.bytes.Sent.Load()
		sum.sent += f.bytes.Received.Load()
	}
	return sum
}

func (t *traffic) collect(d map[string]*prometheus.Desc, ch chan<- prometheus.Metric) {
	for _, s := range t.all() {
		sum := s.read()
		emit := func(name string, v uint64) {
			ch <- &sample{desc: d[name], labels: s.pairs, value: float64(v)}
		}
		if sum.opened > 0 {
			emit(opened, sum.opened)
			emit(closed, sum.closed)
			emit(received, sum.received)
			emit(sent, sum.sent)
		}
		if sum.failed > 0 {
			emit(failed, sum.failed)
		}
	}
	for r := range t.open {
		labels := pairs([]string{"reporter"}, []string{Reporter(r).String()})
		ch <- &sample{desc: d[sockets], labels: labels, value: float64(t.open[r].Load()), gauge: true}
	}
}

// all drops idle series and returns the others.
func (t *traffic) all() []*series {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep()
	out := make([]*series, 0, len(t.series))
	for _, s := range t.series {
		out = append(out, s)
	}
	return out
}
