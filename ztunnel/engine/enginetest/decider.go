package enginetest

import (
	"sync"
	"testing"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Decider decides by functions and keeps what it is told. A nil Dial gives up, a nil Judge allows. It
// fails the test if an engine breaks the order of calls.
type Decider struct {
	Accept, Tunnel func(*engine.Record) engine.Plan
	Dial           func(*engine.Record, *engine.DialError) engine.Plan
	Judge          func(*engine.Record) (reason.Reason, bool)

	t           testing.TB
	mu          sync.Mutex
	asked       map[uint64]bool
	established map[uint64]int
	answered    map[uint64]int
	closed      map[uint64]*engine.Record
	errs        []*engine.DialError
}

// NewDecider makes a decider without its functions.
func NewDecider(t testing.TB) *Decider {
	return &Decider{t: t, asked: map[uint64]bool{}, established: map[uint64]int{}, answered: map[uint64]int{},
		closed: map[uint64]*engine.Record{}}
}

// Accepted asks Accept.
func (d *Decider) Accepted(r *engine.Record) engine.Plan {
	d.ask(r)
	return d.Accept(r)
}

// Connect asks Tunnel.
func (d *Decider) Connect(r *engine.Record) engine.Plan {
	d.ask(r)
	return d.Tunnel(r)
}

func (d *Decider) ask(r *engine.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.established[r.ID] > 0 || d.closed[r.ID] != nil {
		d.t.Errorf("record %d: asked about after Established or Closed", r.ID)
	}
	d.asked[r.ID] = true
}

// Dialed asks Dial.
func (d *Decider) Dialed(r *engine.Record, err *engine.DialError) engine.Plan {
	d.mu.Lock()
	d.errs = append(d.errs, err)
	d.mu.Unlock()
	if d.Dial != nil {
		return d.Dial(r, err)
	}
	return engine.Plan{Reason: err.Reason, Detail: err.Error()}
}

// Established checks the order.
func (d *Decider) Established(r *engine.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.established[r.ID]++; d.established[r.ID] > 1 || d.closed[r.ID] != nil {
		d.t.Errorf("record %d: Established %d times, or after Closed", r.ID, d.established[r.ID])
	}
}

// Answered checks the order.
func (d *Decider) Answered(r *engine.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answered[r.ID]++; d.answered[r.ID] > 1 || d.established[r.ID] == 0 || d.closed[r.ID] != nil {
		d.t.Errorf("record %d: Answered %d times, or before Established, or after Closed", r.ID, d.answered[r.ID])
	}
	if r.First <= 0 {
		d.t.Errorf("record %d: answered after %v", r.ID, r.First)
	}
}

// Closed keeps the record.
func (d *Decider) Closed(r *engine.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed[r.ID] != nil {
		d.t.Errorf("record %d: Closed twice", r.ID)
	}
	d.closed[r.ID] = r
}

// Rejudge asks Judge.
func (d *Decider) Rejudge(r *engine.Record) (reason.Reason, bool) {
	if d.Judge != nil {
		return d.Judge(r)
	}
	return reason.None, true
}

// ended returns the closed records of the kind once there are n.
func (d *Decider) ended(kind engine.Kind, n int) []*engine.Record {
	d.t.Helper()
	var out []*engine.Record
	Eventually(d.t, "records are closed", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		out = out[:0]
		for _, r := range d.closed {
			if r.Kind == kind {
				out = append(out, r)
			}
		}
		return len(out) >= n
	})
	if len(out) != n {
		for _, r := range out {
			d.t.Logf("%s -> %s: %q %s", r.Source, r.Dest, r.Reason, r.Detail)
		}
		d.t.Fatalf("%d %s records closed, want %d", len(out), kind, n)
	}
	return out
}

// count is how many records are closed.
func (d *Decider) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.closed)
}

// failed returns the errors of attempts.
func (d *Decider) failed() []*engine.DialError {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]*engine.DialError(nil), d.errs...)
}

// finished checks, after the engine's end, that every record of which the decider was told was closed.
func (d *Decider) finished() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.asked {
		if d.closed[id] == nil {
			d.t.Errorf("record %d was judged and not closed", id)
		}
	}
}
