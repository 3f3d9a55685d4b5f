package admin

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// Connection is one live connection.
type Connection struct {
	ID          uint64    `json:"id"`
	Kind        string    `json:"kind"` // outbound, inbound or hbone
	Pod         string    `json:"pod"`  // "namespace/name"
	Source      End       `json:"source"`
	Destination End       `json:"destination"`
	Path        string    `json:"path"` // tunnel, plain or same_node
	Policy      string    `json:"policy"`
	Sent        uint64    `json:"sent"`     // bytes from the opener
	Received    uint64    `json:"received"` // bytes back
	Opened      time.Time `json:"opened"`
}

// End is one end of a connection, as far as it is known.
type End struct {
	Address   string `json:"address"`
	Workload  string `json:"workload"`
	Namespace string `json:"namespace"`
	Identity  string `json:"identity"`
	Service   string `json:"service,omitempty"`
}

func (a *Admin) connections(w http.ResponseWriter, _ *http.Request) {
	all := []Connection{}
	a.cfg.Each(func(r *engine.Record) bool {
		all = append(all, connection(r))
		return true
	})
	slices.SortFunc(all, func(x, y Connection) int { return cmp.Compare(x.ID, y.ID) })
	a.write(w, struct {
		Connections []Connection `json:"connections"`
	}{all})
}

func connection(r *engine.Record) Connection {
	c := Connection{
		ID: r.ID, Kind: r.Kind.String(), Pod: r.Pod.Namespace + "/" + r.Pod.Name,
		Source:      end(r.Source, r.From),
		Destination: end(destination(r), r.To),
		Path:        path(r), Policy: r.Policy,
		Sent: r.Sent.Load(), Received: r.Received.Load(), Opened: r.Accepted.UTC(),
	}
	if r.Service != nil {
		c.Destination.Service = r.Service.Key
	}
	setIdentities(r, &c)
	return c
}

// setIdentities names who is proven: the pod itself, and the peer at the other end of TLS or of a
// hand-over. What only an address says is not an identity.
func setIdentities(r *engine.Record, c *Connection) {
	own := r.Pod.Identity.String()
	if r.Kind != engine.Outbound {
		c.Source.Identity, c.Destination.Identity = r.Peer.String(), own
		return
	}
	c.Source.Identity = own
	switch d := r.Attempt.Dial; {
	case d.Action == engine.Deliver && d.Pod != nil:
		c.Destination.Identity = d.Pod.Identity.String()
	case d.Action == engine.Tunnel && r.To != nil && slices.Contains(d.Peers, r.To.Identity.String()):
		c.Destination.Identity = r.To.Identity.String()
	}
}

func end(addr netip.AddrPort, w *mesh.Workload) End {
	e := End{}
	if addr.IsValid() {
		e.Address = addr.String()
	}
	if w != nil {
		e.Workload, e.Namespace = w.Name, w.Namespace
	}
	return e
}

// destination is the application's address where it is known, else what the opener called.
func destination(r *engine.Record) netip.AddrPort {
	if r.Target.IsValid() {
		return r.Target
	}
	return r.Dest
}

func path(r *engine.Record) string {
	d := r.Attempt.Dial.Action
	switch {
	case r.Kind == engine.HBONE, d == engine.Tunnel:
		return "tunnel"
	case r.Kind == engine.Outbound && d == engine.Deliver:
		return "same_node"
	}
	return "plain"
}
