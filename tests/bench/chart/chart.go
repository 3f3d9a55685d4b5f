// Package chart draws bars as SVG. The text is real text, the colours follow the reader's light or dark
// scheme, and each figure stands in a column of its own, so that nothing overlaps.
package chart

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bar is one figure with its range.
type Bar struct {
	Label            string
	Class            string // none, floor, peer or mesh: its colour
	Median, Min, Max float64
}

// Panel is the bars of one metric.
type Panel struct {
	Title string // metric, unit and which way is better
	Bars  []Bar
}

// Figure is one chart.
type Figure struct {
	Title  string
	Of     []string // workloads, where the title does not say which
	Panels []Panel
}

// All lengths are in pixels.
const (
	columns    = 2
	panelWidth = 440
	margin     = 16
	titleRoom  = 40
	labelRoom  = 96
	valueRoom  = 62
	barHeight  = 12
	rowHeight  = 20
	headRoom   = 26
	axisRoom   = 26
	plotWidth  = panelWidth - labelRoom - valueRoom - margin
)

const style = `<style>
svg { --bg: #ffffff; --ink: #1f2328; --dim: #59636e; --line: #d1d9e0; --none: #8c959f; --floor: #4c78a8; --peer: #c9772f; --mesh: #2f8f5b }
@media (prefers-color-scheme: dark) { svg { --bg: #0d1117; --ink: #e6edf3; --dim: #9198a1; --line: #30363d; --none: #7d8590; --floor: #6ea0d6; --peer: #e0934d; --mesh: #46b57c } }
text { font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; fill: var(--ink) }
.h { font-size: 15px; font-weight: 600 } .p { font-weight: 600 } .d { fill: var(--dim); font-size: 11px }
.l { stroke: var(--line) } .w { stroke: var(--ink); stroke-width: 1.2 }
.none { fill: var(--none) } .floor { fill: var(--floor) } .peer { fill: var(--peer) } .mesh { fill: var(--mesh) }
</style>
`

// SVG draws a figure.
func SVG(f Figure) []byte {
	d := &drawing{}
	y := float64(titleRoom)
	for i := 0; i < len(f.Panels); i += columns {
		tallest := 0.0
		for j, p := range f.Panels[i:min(i+columns, len(f.Panels))] {
			d.panel(p, float64(margin+j*(panelWidth+margin)), y)
			tallest = max(tallest, height(p))
		}
		y += tallest
	}
	width, all := columns*(panelWidth+margin)+margin, y+margin
	if len(f.Panels) == 1 {
		width = panelWidth + 2*margin
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" role=\"img\">\n<title>%s</title>\n", width, all, width, all, escape(f.Title))
	if len(f.Of) > 0 {
		fmt.Fprintf(&b, "<desc>%s</desc>\n", escape(strings.Join(f.Of, "; ")))
	}
	b.WriteString(style)
	b.WriteString("<rect width=\"100%\" height=\"100%\" style=\"fill: var(--bg)\"/>\n")
	fmt.Fprintf(&b, "<text class=\"h\" x=\"%d\" y=\"26\">%s</text>\n", margin, escape(f.Title))
	b.WriteString(d.b.String())
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func height(p Panel) float64 { return float64(headRoom + axisRoom + rowHeight*len(p.Bars)) }

type drawing struct{ b strings.Builder }

func (d *drawing) text(class, anchor string, x, y float64, s string) {
	fmt.Fprintf(&d.b, "<text class=\"%s\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", class, anchor, x, y, escape(s))
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&d.b, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2)
}

func (d *drawing) panel(p Panel, x, y float64) {
	d.text("p", "start", x, y+16, p.Title)
	top, left := y+headRoom, x+labelRoom
	bottom := top + float64(rowHeight*len(p.Bars))
	step, end := axis(p.Bars)
	for i := 0; float64(i)*step <= end*1.0001; i++ {
		at := left + float64(i)*step/end*plotWidth
		d.line("l", at, top, at, bottom+4)
		d.text("d", "middle", at, bottom+17, number(float64(i)*step))
	}
	for i, b := range p.Bars {
		d.bar(b, x, top+float64(i*rowHeight), end)
	}
}

// bar draws the median as a bar and the range as a line over it. A range that leaves the axis ends in a
// point: noise of one round must not make the other bars small.
func (d *drawing) bar(b Bar, x, y, end float64) {
	left, mid := x+labelRoom, y+rowHeight/2
	at := func(v float64) float64 { return left + min(v/end, 1)*plotWidth }
	d.text("", "end", left-8, mid+4, b.Label)
	fmt.Fprintf(&d.b, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"1.5\"/>\n", b.Class, left, mid-barHeight/2, max(at(b.Median)-left, 1), barHeight)
	if b.Max > b.Min {
		d.line("w", at(b.Min), mid, at(b.Max), mid)
		d.line("w", at(b.Min), mid-3, at(b.Min), mid+3)
		if b.Max <= end {
			d.line("w", at(b.Max), mid-3, at(b.Max), mid+3)
		} else {
			d.line("w", at(b.Max)-4, mid-3, at(b.Max), mid)
			d.line("w", at(b.Max)-4, mid+3, at(b.Max), mid)
		}
	}
	d.text("", "end", left+plotWidth+valueRoom, mid+4, Number(b.Median))
}

// axis chooses the distance of the marks and the end of the axis, by the medians.
func axis(bars []Bar) (step, end float64) {
	top := 0.0
	for _, b := range bars {
		top = max(top, b.Median)
	}
	if top == 0 {
		return 1, 1
	}
	const marks = 4
	raw := top * 1.08 / marks
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if step = m * power; step >= raw {
			break
		}
	}
	return step, step * math.Ceil(top*1.04/step)
}

// Number writes a figure with three digits that count, and thousands apart.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a < 1:
		return strconv.FormatFloat(v, 'f', min(4, 2-int(math.Floor(math.Log10(a)))), 64)
	case a < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return thousands(strconv.FormatFloat(v, 'f', 0, 64))
}

// number writes a mark of an axis.
func number(v float64) string {
	if v >= 1000 {
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// Count writes a whole number, thousands apart.
func Count(n int) string { return thousands(strconv.Itoa(n)) }

func thousands(s string) string {
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}
