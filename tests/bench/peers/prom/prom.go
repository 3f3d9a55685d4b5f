// Package prom reads counters from a page in Prometheus's text format.
package prom

import (
	"fmt"
	"strconv"
	"strings"
)

// Sum adds up the series of a metric whose labels contain all parts.
func Sum(page []byte, metric string, parts ...string) (int, error) {
	sum := 0.0
	for line := range strings.Lines(string(page)) {
		rest, ok := strings.CutPrefix(line, metric+"{")
		end := strings.LastIndex(rest, "} ")
		if !ok || end < 0 || !contains(rest[:end], parts) {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[end+2:]), 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", metric, err)
		}
		sum += v
	}
	return int(sum), nil
}

func contains(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
