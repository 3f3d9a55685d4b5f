package mesh

import (
	"testing"

	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

func TestPreferredByTheNarrowestScope(t *testing.T) {
	const network, region, zone, subzone, node = workload.LoadBalancing_NETWORK, workload.LoadBalancing_REGION,
		workload.LoadBalancing_ZONE, workload.LoadBalancing_SUBZONE, workload.LoadBalancing_NODE
	type scopes = []workload.LoadBalancing_Scope
	for _, tc := range []struct {
		mode   workload.LoadBalancing_Mode
		scopes scopes
		want   Near
	}{
		{workload.LoadBalancing_FAILOVER, scopes{network, region, zone}, SameZone},
		{workload.LoadBalancing_FAILOVER, scopes{network, region, zone, subzone, node}, SameNode},
		{workload.LoadBalancing_FAILOVER, scopes{region}, SameRegion},
		{workload.LoadBalancing_FAILOVER, nil, Anywhere},
		{workload.LoadBalancing_STRICT, scopes{node}, Anywhere}, // not a preference but a limit
		{workload.LoadBalancing_UNSPECIFIED_MODE, scopes{zone}, Anywhere},
	} {
		if got := preferred(&workload.LoadBalancing{Mode: tc.mode, RoutingPreference: tc.scopes}); got != tc.want {
			t.Errorf("%v %v: %d, want %d", tc.mode, tc.scopes, got, tc.want)
		}
	}
	if got := preferred(nil); got != Anywhere {
		t.Errorf("nothing said: %d", got)
	}
}
