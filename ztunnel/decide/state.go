package decide

import (
	"time"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// state is what a Decider keeps of one record. Only calls for that record touch it, one at a time;
// path and handOver do not change after Established.
type state struct {
	path     path // of an outbound connection
	handOver *engine.Pod
	tried    []*mesh.Workload
	lease    *balance.Lease
	dryRun   []string

	established bool
	answered    bool
	unknown     time.Time         // since when a live connection's policy is not known
	ended       string            // why a later judgement ended it
	endedBy     string            // the policy of that judgement
	flows       [2]telemetry.Flow // as source, as destination
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
