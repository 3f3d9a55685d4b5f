package main

import (
	"testing"

	"github.com/ambitmesh/ambit/tests/bench/load"
)

func TestSamplesGiveCPUPerOperation(t *testing.T) {
	l := workloads()[0]
	s, err := l.samples(chain{name: "ambit-std", proxies: []string{"x"}}, &load.Result{Count: 50_000, P50: 7, P99: 9, Rate: 100, CPU: []float64{5, 8}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s[len(s)-2]; got.Metric != "cpu" || got.Value != 10 {
		t.Errorf("cpu sample %+v, want 5 s over half of the unit", got)
	}
	if got := s[len(s)-1]; got.Metric != "cpu of all" || got.Value != 16 {
		t.Errorf("sample of all %+v, want 8 s over half of the unit", got)
	}
	if _, err := l.samples(chain{}, &load.Result{}, nil); err == nil {
		t.Error("a run in which nothing was done gives samples")
	}
}

func TestField(t *testing.T) {
	if v, ok := load.Field("usage_usec 25\nuser_usec 1\n", "user_usec"); !ok || v != 1 {
		t.Errorf("field: %v %v", v, ok)
	}
	if _, ok := load.Field("usage_usec x\n", "usage_usec"); ok {
		t.Error("a word is taken for a number")
	}
}

func TestRelayWantsPairs(t *testing.T) {
	for _, args := range [][]string{nil, {"127.0.0.1:1"}, {"a", "b"}} {
		if relayMain(args) == nil {
			t.Errorf("relay %q was accepted", args)
		}
	}
}
