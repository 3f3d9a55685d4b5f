package decide

import (
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/telemetry"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// direction is a connection's as seen from its pod.
func direction(r *engine.Record) string {
	if r.Kind == engine.Outbound {
		return "outbound"
	}
	return "inbound"
}

// Path names the way of a connection: "tunnel", "plain" or "same_node".
func Path(r *engine.Record) string {
	if r.Kind == engine.HBONE {
		return viaTunnel.String()
	}
	if st, ok := r.State.(*state); ok && (st.path == viaTunnel || st.path == viaHandOver) {
		return st.path.String()
	}
	return viaPlain.String()
}

// reporter returns the labels of the end that this proxy is for the connection, and whether it is the
// destination's, too: of a hand-over it is both.
func (d *Decider) reporter(r *engine.Record) (l telemetry.Labels, both bool) {
	l = d.labels(r)
	if r.Kind != engine.Outbound {
		l.Reporter = telemetry.Destination
	}
	return l, r.Kind == engine.Outbound && Path(r) == viaHandOver.String()
}

func (d *Decider) labels(r *engine.Record) telemetry.Labels {
	path := Path(r)
	l := telemetry.Labels{TLS: path == viaTunnel.String(), Source: party(r.From), Destination: party(r.To)}
	if r.Service != nil {
		l.Service = telemetry.Service{Hostname: r.Service.Hostname, Namespace: r.Service.Namespace, Name: r.Service.Name}
	}
	if path == viaPlain.String() {
		return l // no identity was verified
	}
	source, dest := d.identities(r)
	l.Source.Principal, l.Destination.Principal = d.uri(source), d.uri(dest)
	if l.Source.Namespace == "" {
		l.Source.Namespace = source.Namespace
	}
	return l
}

// identities are those of a connection's ends. The peer's is verified; the far end's is what it must
// prove before the first byte.
func (d *Decider) identities(r *engine.Record) (source, dest identity.ID) {
	source, dest = r.Pod.Identity, r.Pod.Identity
	if r.Kind != engine.Outbound {
		source = r.Peer
	} else {
		dest = identity.ID{}
		if r.To != nil {
			dest = r.To.Identity
		}
	}
	return source, dest
}

func (d *Decider) uri(id identity.ID) string { return d.uris.get(id, identity.ID.String) }

func party(w *mesh.Workload) telemetry.Party {
	if w == nil {
		return telemetry.Party{}
	}
	return telemetry.Party{
		Workload: w.WorkloadName, Canonical: w.CanonicalName, Revision: w.CanonicalRevision, Namespace: w.Namespace,
		Cluster: w.Cluster, Region: w.Region, Zone: w.Zone,
	}
}
