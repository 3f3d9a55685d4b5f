package telemetry

import (
	"cmp"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Reporter is which end of a connection counts it.
type Reporter uint8

// The reporters.
const (
	Source Reporter = iota
	Destination
)

// String returns the label's value.
func (r Reporter) String() string { return [...]string{"source", "destination"}[min(r, Destination)] }

// Party is one end of a connection as the labels describe it. Empty means not known.
type Party struct {
	Workload  string // the controller's name: deployment
	Canonical string // canonical service, also "app"
	Revision  string // canonical revision, also "version"
	Namespace string
	Principal string // SPIFFE URI
	Cluster   string
	Region    string
	Zone      string
}

// Service is the called service. Empty means not known.
type Service struct{ Hostname, Namespace, Name string }

// Labels are those of one istio_tcp_ series. Comparable.
type Labels struct {
	Reporter    Reporter
	Source      Party
	Destination Party
	Service     Service
	Flags       string // see Flags; "" is written "-"
	TLS         bool   // the bytes crossed the network in mutual TLS
}

const unknown = "unknown"

// trafficLabels are the names in the order of values, and sorted, as the exposition format wants it.
var trafficLabels = []string{
	"connection_security_policy",
	"destination_app", "destination_canonical_revision", "destination_canonical_service", "destination_cluster",
	"destination_principal", "destination_region", "destination_service", "destination_service_name",
	"destination_service_namespace", "destination_version", "destination_workload",
	"destination_workload_namespace", "destination_zone",
	"reporter", "request_protocol", "response_flags",
	"source_app", "source_canonical_revision", "source_canonical_service", "source_cluster",
	"source_principal", "source_region", "source_version", "source_workload", "source_workload_namespace",
	"source_zone",
}

func (l *Labels) values() []string {
	or := func(s string) string { return cmp.Or(s, unknown) }
	security := unknown
	if l.TLS {
		security = "mutual_tls"
	}
	s, d := &l.Source, &l.Destination
	return []string{
		security,
		or(d.Canonical), or(d.Revision), or(d.Canonical), or(d.Cluster),
		or(d.Principal), d.Region, or(l.Service.Hostname), or(l.Service.Name),
		or(l.Service.Namespace), or(d.Revision), or(d.Workload),
		or(d.Namespace), d.Zone,
		l.Reporter.String(), "tcp", cmp.Or(l.Flags, "-"),
		or(s.Canonical), or(s.Revision), or(s.Canonical), or(s.Cluster),
		or(s.Principal), s.Region, or(s.Revision), or(s.Workload), or(s.Namespace),
		s.Zone,
	}
}

// pairs makes what a scrape returns; values must be in the order of names.
func pairs(names, values []string) []*dto.LabelPair {
	out := make([]*dto.LabelPair, len(names))
	for i := range names {
		out[i] = &dto.LabelPair{Name: new(names[i]), Value: new(strings.ToValidUTF8(values[i], "?"))}
	}
	return out
}
