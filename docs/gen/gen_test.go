package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

func TestCommandsOfAHelpText(t *testing.T) {
	help := "Usage:\n  x [command]\n\nAvailable Commands:\n  check       Try it\n  completion  Generate\n  help        Help\n  root-rotate Turn\n\nFlags:\n  -h, --help   help for x\n"
	if got := strings.Join(commands(help), " "); got != "check root-rotate" {
		t.Errorf("commands: %q", got)
	}
	if got := commands("Usage:\n  x\n"); got != nil {
		t.Errorf("commands of none: %q", got)
	}
}

func TestReasonsTable(t *testing.T) {
	page, err := reasons("../../internal/reason/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| `policy_deny` | a DENY policy matched |", "| `unreachable` | unreachable |"} {
		if !strings.Contains(page, want) {
			t.Errorf("no row %q in:\n%s", want, page)
		}
	}
	if strings.Contains(page, "| `` |") {
		t.Error("the empty reason is in the table")
	}
}

func TestMetricsOfEachForm(t *testing.T) {
	const source = `package p
import "github.com/prometheus/client_golang/prometheus"
var states = prometheus.NewDesc("ambit_a", "A.", []string{"state"}, nil)
var e = prometheus.NewDesc("ambit_b_total", "B.", []string{"event"}, nil)
func make() {
	vec := func(name, help, label string) *prometheus.CounterVec { return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label}) }
	fixed := func(name, help string) prometheus.Collector { return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"url"}) }
	use(vec("ambit_c_total", "C.", "kind"), fixed("ambit_d", "D."), prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ambit_e_seconds", Help: "E."}, []string{"x", "y"}))
	send := func(d *prometheus.Desc) { ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, 1) }
	send(e)
	ch <- prometheus.MustNewConstMetric(states, prometheus.GaugeValue, 1)
}
func table() {
	for _, m := range []struct{ name, help string }{{"ambit_f", "F."}} {
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, nil)
	}
}
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := metricsOf(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "[{ambit_a gauge A. [state]} {ambit_b_total counter B. [event]} {ambit_c_total counter C. [kind]} {ambit_d gauge D. [url]} {ambit_e_seconds histogram E. [x y]} {ambit_f gauge F. []}]"
	if s := fmt.Sprint(got); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestAMetricThatIsNotUnderstoodIsAnError(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", "package p\nimport \"github.com/prometheus/client_golang/prometheus\"\nvar x = other(\"ambit_a\")\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := metricsOf(file); err == nil {
		t.Errorf("no error, got %v", got)
	}
}

// The page is made of the real tree: what the parts count must be there with its kind.
func TestMetricsPage(t *testing.T) {
	page, err := metrics("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| `ambit_agent_events_total` | counter | `event` |", "| `ambit_xds_streams` | gauge |  |", "| `ambit_xds_acknowledge_seconds` | histogram | `url` |",
		"| `ambit_ca_issued_total` | counter | `kind` |", "| `istio_xds_message_total` | counter | `url` |", "| `istio_tcp_sent_bytes_total` | counter |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no row %q", want)
		}
	}
}
