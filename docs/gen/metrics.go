package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ambitmesh/ambit/internal/telemetry"
)

const metricsHead = `# Metrics

Each part serves Prometheus' text at ` + "`/metrics`" + ` on port 15020 (` + "`--metrics-addr`" + `) and on its admin socket, with the
usual ` + "`go_*`" + ` and ` + "`process_*`" + ` series of its own process beside these. How to scrape them, alerts and a
dashboard: [Metrics and logs](../observe.md).

`

// sources say where each part's metrics are made.
var sources = []struct {
	title string
	dirs  []string
}{
	{"ambit-ztunnel: itself", []string{"ztunnel", "internal/xds"}},
	{"ambit-agent", []string{"agent"}},
	{"ambit-controller", []string{"controller"}},
}

// metrics is the page of every part's metrics, read from the code that makes them.
func metrics(root string) (string, error) {
	var page strings.Builder
	page.WriteString(metricsHead)
	page.Write(telemetry.Reference())
	for _, s := range sources {
		var all []metric
		for _, dir := range s.dirs {
			found, err := metricsBelow(root, dir)
			if err != nil {
				return "", err
			}
			all = append(all, found...)
		}
		if len(all) == 0 {
			return "", fmt.Errorf("no metrics below %v", s.dirs)
		}
		fmt.Fprintf(&page, "\n## %s\n\n| Metric | Type | Labels | |\n|---|---|---|---|\n", s.title)
		slices.SortFunc(all, func(a, b metric) int { return cmp.Compare(a.name, b.name) })
		for _, m := range all {
			labels := strings.Join(m.labels, "`, `")
			if labels != "" {
				labels = "`" + labels + "`"
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
		}
	}
	return page.String(), nil
}
