package telemetry

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/internal/reason"
)

// Options configure a Telemetry.
type Options struct {
	Registerer prometheus.Registerer // nil: counted, not registered
	Now        func() time.Time      // nil: time.Now
	Idle       time.Duration         // after which an unused series goes; 0: 15 minutes
	MaxSeries  int                   // label sets of a family; 0: 20,000
	// LogDropped is asked at each scrape for the lines that the access log had no room for; nil: none.
	LogDropped func() uint64
}

// Defaults of Options.
const (
	defaultIdle   = 15 * time.Minute
	defaultSeries = 20_000
)

// Telemetry counts. Safe for concurrent use. All memory that others can make it hold is bounded.
type Telemetry struct {
	opts    Options
	descs   map[string]*prometheus.Desc
	traffic *traffic
	refused *counters
	hits    *counters
	ejects  *ejectionLog
	expiry  *expiries
	times   *times
}

// New returns a Telemetry and registers it. It fails if the Registerer has metrics of these names.
func New(o Options) (*Telemetry, error) {
	o = o.withDefaults()
	t := &Telemetry{
		opts: o, descs: descs(),
		traffic: &traffic{now: o.Now, idle: o.Idle, max: o.MaxSeries, series: map[Labels]*series{}},
		refused: o.counters(refused, "direction", "reason"),
		hits:    o.counters(policyHits, "dry_run", "outcome", "policy"),
		ejects:  newEjectionLog(o),
		expiry:  &expiries{until: map[string]time.Time{}},
		times:   newTimes(),
	}
	if o.Registerer == nil {
		return t, nil
	}
	for _, c := range append([]prometheus.Collector{t}, t.times.collectors()...) {
		if err := o.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return t, nil
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	if o.MaxSeries == 0 {
		o.MaxSeries = defaultSeries
	}
	return o
}

func (o Options) counters(name string, labels ...string) *counters {
	return &counters{name: name, names: labels, now: o.Now, idle: o.Idle, max: o.MaxSeries, values: map[[3]string]*count{}}
}

// Open counts a connection as opened until f is closed. Its bytes are read at each scrape and when f is
// closed.
func (t *Telemetry) Open(f *Flow, l *Labels, bytes *Bytes) {
	*f = Flow{bytes: bytes}
	t.traffic.open[l.Reporter].Add(1)
	t.traffic.use(l, f.link)
}

// Count adds connections that somebody else has counted: those that the kernel carried. from and back are
// bytes from their openers and to them.
func (t *Telemetry) Count(l *Labels, opened, closed, from, back uint64) {
	t.traffic.use(l, func(s *series) {
		s.totals.opened += opened
		s.totals.closed += closed
		s.totals.received += from
		s.totals.sent += back
	})
	t.traffic.open[l.Reporter].Add(int64(opened) - int64(closed))
}

// Failed counts a connection as refused or ended early.
func (t *Telemetry) Failed(l *Labels) {
	t.traffic.use(l, func(s *series) { s.totals.failed++ })
}

// Refused counts a connection that was refused or ended early, direction "inbound" or "outbound".
func (t *Telemetry) Refused(direction string, why reason.Reason) {
	t.refused.add(direction, string(why))
}

// PolicyHit counts a connection that the policy ("namespace/name") decided.
func (t *Telemetry) PolicyHit(policy string, allowed bool) {
	outcome := "refused"
	if allowed {
		outcome = "allowed"
	}
	t.hits.add("false", outcome, policy)
}

// DryRunHit counts a connection that a dry-run policy would have refused.
func (t *Telemetry) DryRunHit(policy string) { t.hits.add("true", "refused", policy) }

// Describe implements prometheus.Collector.
func (t *Telemetry) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range Describe() {
		if !t.times.has(m.Name) {
			ch <- t.descs[m.Name]
		}
	}
}

// Collect implements prometheus.Collector. It also drops idle series.
func (t *Telemetry) Collect(ch chan<- prometheus.Metric) {
	t.traffic.collect(t.descs, ch)
	t.refused.collect(t.descs, ch)
	t.hits.collect(t.descs, ch)
	t.ejects.collect(t.descs, ch)
	t.expiry.collect(t.descs, ch)
	drops := map[string]uint64{"traffic": t.traffic.dropped.Load(), "policy": t.hits.overflow(), "ejections": t.ejects.counters.overflow()}
	for family, n := range drops {
		ch <- &sample{desc: t.descs[dropped], labels: pairs([]string{"family"}, []string{family}), value: float64(n)}
	}
	if t.opts.LogDropped != nil {
		ch <- &sample{desc: t.descs[logDropped], value: float64(t.opts.LogDropped())}
	}
}
