package main

import (
	"fmt"
	"math"
	"strings"
)

// panel is one diagram: a line for each process over the minutes of the run.
type panel struct {
	title string
	value func(Part) float64
}

const (
	chartWidth  = 760
	panelHeight = 230
	left, right = 50, 20
	top, bottom = 40, 30
	legend      = 30
)

var lineColors = []string{"#1f6feb", "#2da44e", "#8250df", "#bf8700", "#cf222e"}

// chart draws the panels, one below the other.
func (r *Result) chart(panels []panel) string {
	var b strings.Builder
	height := legend + panelHeight*len(panels)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="figures of each process over the run">
<style>text { fill: #57606a } .t { fill: #1f2328; font-weight: 600 } .g { stroke: #d0d7de } polyline { fill: none; stroke-width: 1.5 } @media (prefers-color-scheme: dark) { text { fill: #8b949e } .t { fill: #e6edf3 } .g { stroke: #30363d } }</style>
`, chartWidth, height)
	for i, name := range r.parts() {
		x := left + i*140
		fmt.Fprintf(&b, `<rect x="%d" y="10" width="12" height="4" fill="%s"/><text x="%d" y="16">%s</text>`+"\n", x, lineColors[i%len(lineColors)], x+17, name)
	}
	for i, p := range panels {
		r.drawPanel(&b, p, legend+i*panelHeight)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (r *Result) drawPanel(b *strings.Builder, p panel, y int) {
	highest, last := 1.0, 1.0
	for _, x := range r.Samples {
		last = max(last, x.At/60)
		for _, part := range x.Parts {
			highest = max(highest, p.value(part))
		}
	}
	step := tick(highest)
	highest = math.Ceil(highest/step) * step
	const h, w = panelHeight - top - bottom, chartWidth - left - right
	atX := func(minutes float64) float64 { return left + minutes/last*w }
	atY := func(v float64) float64 { return float64(y+top+h) - v/highest*h }
	fmt.Fprintf(b, `<text class="t" x="%d" y="%d">%s</text>`+"\n", left, y+top-14, p.title)
	for v := 0.0; v <= highest+step/2; v += step {
		fmt.Fprintf(b, `<line class="g" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n", left, chartWidth-right, atY(v), atY(v), left-6, atY(v)+4, v)
	}
	for m := 0.0; m <= last; m += tick(last) {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%g min</text>`+"\n", atX(m), y+top+h+18, m)
	}
	for i, name := range r.parts() {
		fmt.Fprintf(b, `<polyline stroke="%s" points="`, lineColors[i%len(lineColors)])
		for _, x := range r.Samples {
			fmt.Fprintf(b, "%.1f,%.1f ", atX(x.At/60), atY(p.value(x.Parts[name])))
		}
		b.WriteString("\"/>\n")
	}
}

// tick is a round number that divides a length into some four to ten parts.
func tick(length float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(length/4)))
	for _, f := range []float64{1, 2, 5} {
		if length/(unit*f) <= 10 {
			return unit * f
		}
	}
	return unit * 10
}
