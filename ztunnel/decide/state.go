package decide

import (
	"time"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// state is what a Decider keeps of one record. Only calls for that record touch it, one at a time;
// path and hand do not change after Established. There may be many idle connections, so it is kept small.
type state struct {
	lease *balance.Lease
	hand  *hand // nil: no hand-over
	rare  *rare // nil for most
	flow  telemetry.Flow

	path        path // of an outbound connection
	established bool
	answered    bool
}

// hand is what a hand-over has more.
type hand struct {
	pod  *engine.Pod    // the destination
	flow telemetry.Flow // as destination; the state's is as source
}

func handOf(p *engine.Pod) *hand {
	if p == nil {
		return nil
	}
	return &hand{pod: p}
}

// rare is what few connections have.
type rare struct {
	tried   []*mesh.Workload // endpoints that could not be reached
	dryRun  []string
	unknown time.Time // since when a live connection's policy is not known
	ended   string    // why a later judgement ended it
	endedBy string    // the policy of that judgement
}

// more is for writing what is rare.
func (st *state) more() *rare {
	if st.rare == nil {
		st.rare = &rare{}
	}
	return st.rare
}

// told is for reading what is rare.
func (st *state) told() rare {
	if st.rare == nil {
		return rare{}
	}
	return *st.rare
}

func (st *state) setDryRun(policies []string) {
	if st.rare != nil || len(policies) > 0 {
		st.more().dryRun = policies
	}
}

// of returns the state of r, made at the first call.
func of(r *engine.Record) *state {
	st, ok := r.State.(*state)
	if !ok {
		st = &state{}
		r.State = st
	}
	return st
}

// give ends the use of the endpoint, if there is one, with what the connection says of it.
func (st *state) give(o balance.Outcome) {
	st.lease.Report(o, "")
	st.lease.Release()
	st.lease = nil
}
