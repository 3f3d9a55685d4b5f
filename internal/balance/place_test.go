package balance

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/mesh"
)

// spread is a service with two endpoints on the client's node, one more in its zone, one in its region and
// one in a zone of the same name elsewhere.
func spread(prefer mesh.Near) *rig {
	r := newRig(5, five)
	r.svc.Prefer = prefer
	for i, at := range []Place{{"n1", "a", "r1"}, {"n1", "a", "r1"}, {"n2", "a", "r1"}, {"n3", "b", "r1"}, {"n4", "a", "r2"}} {
		w := r.eps[i].Workload
		w.Node, w.Zone, w.Region = at.Node, at.Zone, at.Region
	}
	return r
}

func from(p Place) Want {
	w := who(1)
	w.From = p
	return w
}

func names(m map[string]int) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }

func TestNearEndpointsArePreferred(t *testing.T) {
	for _, tc := range []struct {
		prefer mesh.Near
		from   Place
		want   string
	}{
		{mesh.Anywhere, Place{"n1", "a", "r1"}, "uid0 uid1 uid2 uid3 uid4"},
		{mesh.SameRegion, Place{"n1", "a", "r1"}, "uid0 uid1 uid2 uid3"},
		{mesh.SameZone, Place{"n1", "a", "r1"}, "uid0 uid1 uid2"},
		{mesh.SameNode, Place{"n1", "a", "r1"}, "uid0 uid1"},
		{mesh.SameNode, Place{"n9", "a", "r1"}, "uid0 uid1 uid2"}, // none on the node, the zone is next
		{mesh.SameNode, Place{"n9", "c", "r2"}, "uid4"},
		{mesh.SameNode, Place{"n9", "c", "r3"}, "uid0 uid1 uid2 uid3 uid4"},
		{mesh.SameZone, Place{"n9", "", ""}, "uid0 uid1 uid2 uid3 uid4"}, // nothing is known of the client
		{mesh.SameNode, Place{"n1", "", ""}, "uid0 uid1"},                // a cluster without zones
	} {
		r := spread(tc.prefer)
		if got := names(r.seen(300, from(tc.from))); got != tc.want {
			t.Errorf("prefer %d from %+v: %s, want %s", tc.prefer, tc.from, got, tc.want)
		}
	}
}

func TestFartherEndpointsServeWhenNearOnesDoNot(t *testing.T) {
	r := spread(mesh.SameNode)
	w := from(Place{"n1", "a", "r1"})
	if e, _, ok := r.Pick(r.svc, r.eps, []*mesh.Workload{r.eps[0].Workload, r.eps[1].Workload}, w); !ok || e.Workload.UID != "uid2" {
		t.Errorf("both near ones were tried: %v", e.Workload)
	}
	for range 5 {
		r.at(t, 0, Refused, w)
	}
	if got := names(r.seen(50, w)); got != "uid1" {
		t.Errorf("one near one is ejected: %s", got)
	}
	for range 5 {
		r.at(t, 1, Refused, w)
	}
	if got := names(r.seen(50, w)); got != "uid2" {
		t.Errorf("both near ones are ejected: %s", got)
	}
	r.now = r.now.Add(10 * time.Minute)
	if got := names(r.seen(50, w)); got != "uid0 uid1" {
		t.Errorf("they are back: %s", got)
	}
}
