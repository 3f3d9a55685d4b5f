// Package monitoring holds what watches the mesh; its test holds it to the metrics that there are.
package monitoring

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var series = regexp.MustCompile(`\b(ambit|istio)_[a-z_]+[a-z]\b`)

// known says whether a series is in the reference, which is generated from the code.
func known(t *testing.T) func(string) bool {
	t.Helper()
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) bool {
		base := strings.TrimSuffix(name, "_bucket")
		return strings.Contains(string(page), "| `"+base+"` |")
	}
}

func TestAlertsAskForSeriesThatThereAre(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary string }
			}
		}
	}
	text, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &rules); err != nil || len(rules.Groups) == 0 {
		t.Fatalf("rules: %v", err)
	}
	is := known(t)
	for _, r := range rules.Groups[0].Rules {
		if r.Alert == "" || r.Annotations.Summary == "" || r.Expr == "" {
			t.Errorf("rule %+v lacks something", r)
		}
		for _, name := range series.FindAllString(r.Expr, -1) {
			if !is(name) {
				t.Errorf("alert %s: no part has a series %s", r.Alert, name)
			}
		}
	}
}

func TestDashboardAsksForSeriesThatThereAre(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil || len(d.Panels) < 10 {
		t.Fatalf("%d panels: %v", len(d.Panels), err)
	}
	is := known(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			for _, name := range series.FindAllString(target.Expr, -1) {
				if !is(name) {
					t.Errorf("panel %s: no part has a series %s", p.Title, name)
				}
			}
		}
	}
}
