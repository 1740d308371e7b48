// Package chart draws bars and lines as SVG, without styles or scripts of others.
package chart

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Chart is what is drawn.
type Chart struct {
	Title, Unit string
	// Log draws values on a logarithmic scale; none may be below zero, and zero is drawn as nothing.
	Log    bool
	Series []Series
}

// Series is what has one colour.
type Series struct {
	Name   string
	Points []Point
}

// Point is one value; of one that is NaN only the name is shown, with a dash.
type Point struct {
	Label string
	Value float64
}

const (
	width   = 860
	left    = 250 // room for names
	right   = 90  // room for values
	top     = 44
	barH    = 18
	rowH    = 22
	groupH  = 14
	plotH   = 300
	font    = `font-family="system-ui, sans-serif" font-size="12"`
	ink     = "#24292f"
	paper   = "#ffffff"
	gridInk = "#d0d7de"
)

// palette: our own first, then the peers in pairs.
var palette = []string{"#0b6e4f", "#7fb8a2", "#b5482a", "#e3a58f", "#2f5d9b", "#6f93c4", "#a9c0de", "#7a5195"}

func colour(i int) string { return palette[i%len(palette)] }

// Bars draws a bar for each value, grouped by label.
func (c Chart) Bars() string {
	labels := c.labels()
	scale := c.scale()
	var b strings.Builder
	y := top
	for _, label := range labels {
		if label != "" {
			text(&b, 12, y+12, "start", "bold", label)
			y += rowH
		}
		for i, s := range c.Series {
			for _, p := range s.Points {
				if p.Label != label {
					continue
				}
				text(&b, left-8, y+13, "end", "normal", s.Name)
				if math.IsNaN(p.Value) {
					text(&b, left+6, y+13, "start", "normal", "– (see the table)")
					y += rowH
					continue
				}
				w := scale(p.Value) * (width - left - right)
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", left, y, math.Max(w, 1), barH, colour(i))
				text(&b, left+int(w)+6, y+13, "start", "normal", value(p.Value)+c.unit())
				y += rowH
			}
		}
		y += groupH
	}
	return c.frame(y, b.String())
}

// Lines draws a line for each series over the labels, which stand at equal distances.
func (c Chart) Lines() string {
	labels := c.labels()
	scale := c.scale()
	x := func(label string) float64 {
		return 60 + float64(slices.Index(labels, label))*(width-220)/math.Max(float64(len(labels)-1), 1)
	}
	y := func(v float64) float64 { return top + plotH*(1-scale(v)) }
	var b strings.Builder
	fmt.Fprintf(&b, `<line x1="60" y1="%d" x2="%d" y2="%d" stroke="%s"/>`+"\n", top+plotH, width-160, top+plotH, gridInk)
	for _, label := range labels {
		text(&b, int(x(label)), top+plotH+18, "middle", "normal", label)
	}
	for i, s := range c.Series {
		var path []string
		for _, p := range s.Points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x(p.Label), y(p.Value)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x(p.Label), y(p.Value), colour(i))
			text(&b, int(x(p.Label)), int(y(p.Value))-8, "middle", "normal", value(p.Value)+c.unit())
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour(i))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`+"\n", width-140, top+i*20, colour(i))
		text(&b, width-122, top+i*20+11, "start", "normal", s.Name)
	}
	return c.frame(top+plotH+34, b.String())
}

func (c Chart) unit() string {
	if c.Unit == "" {
		return ""
	}
	return " " + c.Unit
}

func (c Chart) frame(height int, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="%s"/>`+"\n", width, height, paper)
	title := c.Title
	if c.Log {
		title += " (logarithmic)"
	}
	fmt.Fprintf(&b, `<text x="12" y="24" %s font-size="15" font-weight="bold" fill="%s">%s</text>`+"\n",
		`font-family="system-ui, sans-serif"`, ink, html.EscapeString(title))
	return b.String() + body + "</svg>\n"
}

func text(b *strings.Builder, x, y int, anchor, weight, what string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" %s text-anchor="%s" font-weight="%s" fill="%s">%s</text>`+"\n",
		x, y, font, anchor, weight, ink, html.EscapeString(what))
}

func (c Chart) labels() []string {
	var labels []string
	for _, s := range c.Series {
		for _, p := range s.Points {
			if !slices.Contains(labels, p.Label) {
				labels = append(labels, p.Label)
			}
		}
	}
	return labels
}

// scale maps values to 0 to 1. The logarithmic one starts a decade below the smallest value, so that this one shows.
func (c Chart) scale() func(float64) float64 {
	low, high := math.Inf(1), 0.0
	for _, s := range c.Series {
		for _, p := range s.Points {
			if p.Value > 0 {
				high = math.Max(high, p.Value)
				low = math.Min(low, p.Value)
			}
		}
	}
	if high == 0 {
		return func(float64) float64 { return 0 }
	}
	if !c.Log {
		return func(v float64) float64 { return math.Max(v, 0) / high }
	}
	from := math.Floor(math.Log10(low)) - 0.5
	return func(v float64) float64 {
		if v <= 0 {
			return 0
		}
		return (math.Log10(v) - from) / (math.Log10(high) - from)
	}
}

// value is short: three digits that count.
func value(v float64) string {
	switch {
	case v >= 10_000:
		return fmt.Sprintf("%.3gk", math.Round(v/100)/10)
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
