package balance

import "github.com/ambitmesh/ambit/internal/mesh"

// Place is where a client runs. What is not known is "".
type Place struct{ Node, Zone, Region string }

// near says how near a workload is. Zones of one name in two regions are two; a zone or region that is not
// known is like no other.
func (p Place) near(w *mesh.Workload) mesh.Near {
	switch {
	case p.Node != "" && p.Node == w.Node:
		return mesh.SameNode
	case p.Zone != "" && p.Zone == w.Zone && p.Region == w.Region:
		return mesh.SameZone
	case p.Region != "" && p.Region == w.Region:
		return mesh.SameRegion
	}
	return mesh.Anywhere
}
