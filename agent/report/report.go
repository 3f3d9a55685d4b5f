// Package report tells a cluster what its node's agent did: an annotation on captured pods, and Events
// on pods that cannot be enrolled.
package report

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/client-go/rest"

	"github.com/ambitmesh/ambit/agent"
)

// Annotation is on pods whose connections the node's proxy carries; its value is Enabled.
const (
	Annotation = "ambient.istio.io/redirection"
	Enabled    = "enabled"
)

const (
	lookEvery  = 5 * time.Second // and at each change
	settleTime = 50 * time.Millisecond
	// stuckAfter is how long a pod may wait or fail until that is an Event, and its annotation a lie.
	stuckAfter = 10 * time.Second
	// eventAgain is how often the same thing is said about a pod.
	eventAgain = 10 * time.Minute
	firstRetry = time.Second
	lastRetry  = time.Minute
	callTime   = 10 * time.Second

	perSecond, atOnce = 50, 100 // calls
)

// Options are what a Writer needs.
type Options struct {
	Config   *rest.Config
	Node     string
	Pods     func() []agent.PodStatus // of this node
	Log      *slog.Logger
	Now      func() time.Time
	Registry prometheus.Registerer // nil: no metrics
}

// Writer keeps what the cluster is told equal to what is so.
type Writer struct {
	o     Options
	api   *api
	limit *rate.Limiter
	wake  chan struct{}
	calls *prometheus.CounterVec
	pods  map[string]*told // by uid
}

// told is what was last said about a pod.
type told struct {
	written time.Time // of the annotation; the watch brings it back a moment later
	want    bool
	next    time.Time // not before, after an error
	wait    time.Duration

	said  string // the last Event
	saidT time.Time
}

// New returns a writer that writes nothing until Run.
func New(o Options) (*Writer, error) {
	c, err := newAPI(o.Config)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		o: o, api: c, limit: rate.NewLimiter(perSecond, atOnce), wake: make(chan struct{}, 1), pods: map[string]*told{},
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ambit_agent_report_calls_total", Help: "Calls that tell the API server of pods, by what and result.",
		}, []string{"call", "result"}),
	}
	if o.Registry != nil {
		if err := o.Registry.Register(w.calls); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Changed says that some pod's status changed. It never waits.
func (w *Writer) Changed() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends. What cannot be written is tried again, later and later.
func (w *Writer) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		again := w.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-again:
		case <-w.wake:
		}
		select { // a burst makes one round
		case <-ctx.Done():
			return nil
		case <-time.After(settleTime):
		}
	}
}

// round compares every pod once. The channel tells when to try again what failed.
func (w *Writer) round(ctx context.Context) <-chan time.Time {
	seen := map[string]bool{}
	soon := time.Duration(0)
	for _, p := range w.o.Pods() {
		seen[p.UID] = true
		t := w.pods[p.UID]
		if t == nil {
			t = &told{}
			w.pods[p.UID] = t
		}
		w.annotate(ctx, p, t)
		w.complain(ctx, p, t)
		if left := t.next.Sub(w.o.Now()); left > 0 && (soon == 0 || left < soon) {
			soon = left
		}
	}
	for uid := range w.pods {
		if !seen[uid] {
			delete(w.pods, uid)
		}
	}
	if soon == 0 {
		return nil
	}
	return time.After(soon)
}
