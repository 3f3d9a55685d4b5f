package telemetry

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ambitmesh/ambit/internal/balance"
	"github.com/ambitmesh/ambit/internal/reason"
)

// Everything that is described is exposed as described, and nothing else.
func TestDescribe(t *testing.T) {
	b := newBench(t, 0)
	var f Flow
	var n Bytes
	b.Open(&f, &Labels{TLS: true, Service: Service{"web.shop", "shop", "web"}}, &n)
	b.Failed(&Labels{Reporter: Destination, Flags: "DENY"})
	b.Refused("inbound", reason.PolicyDeny)
	b.PolicyHit("shop/p", true)
	b.DryRunHit("shop/p")
	b.Connect("tunnel", time.Second, time.Second)
	b.FirstByte("inbound", time.Second)
	b.Ended("inbound", time.Second, time.Second, 2)
	b.CertificateExpiry("spiffe://x/ns/a/sa/b", time.Unix(1, 0))
	b.Ejected(balance.EndpointState{Service: "s", Workload: "w", Until: time.Unix(1<<40, 0)})
	var got []Metric
	for name, f := range b.families() {
		m := Metric{Name: name, Type: strings.ToLower(f.GetType().String()), Help: f.GetHelp()}
		for _, l := range f.GetMetric()[0].GetLabel() {
			m.Labels = append(m.Labels, l.GetName())
		}
		got = append(got, m)
	}
	slices.SortFunc(got, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff(Describe(), got); diff != "" {
		t.Error(diff)
	}
	for _, m := range b.families()[opened].GetMetric() {
		for _, l := range m.GetLabel() {
			empty := strings.HasSuffix(l.GetName(), "_region") || strings.HasSuffix(l.GetName(), "_zone")
			if (l.GetValue() == "") != empty {
				t.Errorf("%s is %q", l.GetName(), l.GetValue())
			}
		}
	}
}

// Istio's labels, none missing.
func TestTrafficLabels(t *testing.T) {
	want := strings.Fields(`reporter source_workload source_canonical_service source_canonical_revision source_workload_namespace
		source_principal source_app source_version source_cluster destination_service destination_service_namespace
		destination_service_name destination_workload destination_canonical_service destination_canonical_revision
		destination_workload_namespace destination_principal destination_app destination_version destination_cluster
		request_protocol response_flags connection_security_policy source_region source_zone destination_region destination_zone`)
	slices.Sort(want)
	if diff := cmp.Diff(want, trafficLabels); diff != "" {
		t.Error(diff)
	}
	l := Labels{Reporter: Destination, TLS: true, Flags: "DENY",
		Source:      Party{"sw", "sc", "sr", "sn", "sp", "scl", "sre", "sz"},
		Destination: Party{"dw", "dc", "dr", "dn", "dp", "dcl", "dre", "dz"},
		Service:     Service{"sh", "sns", "sna"}}
	got := map[string]string{}
	for i, v := range l.values() {
		got[trafficLabels[i]] = v
	}
	if diff := cmp.Diff(map[string]string{
		"reporter": "destination", "source_workload": "sw", "source_canonical_service": "sc", "source_canonical_revision": "sr",
		"source_workload_namespace": "sn", "source_principal": "sp", "source_app": "sc", "source_version": "sr", "source_cluster": "scl",
		"source_region": "sre", "source_zone": "sz", "destination_service": "sh", "destination_service_namespace": "sns",
		"destination_service_name": "sna", "destination_workload": "dw", "destination_canonical_service": "dc",
		"destination_canonical_revision": "dr", "destination_workload_namespace": "dn", "destination_principal": "dp",
		"destination_app": "dc", "destination_version": "dr", "destination_cluster": "dcl", "destination_region": "dre",
		"destination_zone": "dz", "request_protocol": "tcp", "response_flags": "DENY", "connection_security_policy": "mutual_tls",
	}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	got, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(got, Reference()) {
		t.Error("docs/reference/metrics.md does not have these metrics: run make generate")
	}
}
