package cli

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Progress is one line at the bottom of a terminal that is written over and
// over. It is not safe for concurrent use.
type Progress struct {
	w     io.Writer
	width int // 0: no terminal, so nothing is shown
	now   func() time.Time
	last  time.Time
	shown bool
}

// redraw is how often the line changes at most.
const redraw = 100 * time.Millisecond

// NewProgress shows progress on std.Err where that is a terminal.
func NewProgress(std *IO) *Progress {
	return &Progress{w: std.Err, width: std.Live, now: std.Now}
}

// Live tells whether anybody sees it.
func (p *Progress) Live() bool { return p.width > 0 }

// Show replaces the line, unless it did so a moment ago.
func (p *Progress) Show(text string) {
	now := p.now()
	if !p.Live() || p.shown && now.Sub(p.last) < redraw {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%s", Cut(Clean(text), p.width-1))
}

// Clear takes the line away: before anything else is printed, and at the end.
func (p *Progress) Clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// Bar draws a share from 0 to 1.
func Bar(fraction float64, columns int) string {
	full := min(max(int(math.Round(fraction*float64(columns))), 0), columns)
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", columns-full) + "]"
}
