package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSVGIsWellFormed(t *testing.T) {
	f := Figure{Title: "a < b & c", Panels: []Panel{{Title: "p50, µs", Bars: []Bar{{Label: "x", Class: "mesh", Median: 5, Min: 4, Max: 50}}}, {Title: "none"}}}
	d := xml.NewDecoder(strings.NewReader(string(SVG(f))))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAxisHoldsTheMedians(t *testing.T) {
	for _, top := range []float64{0.003, 0.99, 1, 7, 12.3, 99, 100, 41_234, 180_000} {
		step, end := axis([]Bar{{Median: top, Max: 100 * top}})
		if end < top || end > 1.6*top || end/step > 6.5 || step <= 0 {
			t.Errorf("axis for %v: marks each %v to %v", top, step, end)
		}
	}
	if step, end := axis(nil); step != 1 || end != 1 {
		t.Errorf("axis of nothing: %v, %v", step, end)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.1234: "0.123", 0.00321: "0.0032", 1: "1.00", 12.34: "12.3", 123.4: "123", 123456: "123,456", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := Number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
