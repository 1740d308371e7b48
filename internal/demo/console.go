package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
)

const (
	leastColumns = 72
	mostColumns  = 100
	usualColumns = 92 // where the output is no terminal

	timeColumns = 8
	whoColumns  = 11
)

// console prints what happens, each line with the time since the start and
// who it is about. On a terminal one more line at the bottom shows how things
// stand; elsewhere that line is printed now and then. It is safe for
// concurrent use.
type console struct {
	out     io.Writer
	columns int
	live    bool
	started time.Time
	now     func() time.Time

	mu     sync.Mutex
	drawn  bool      // the line at the bottom is there
	status time.Time // when it was last drawn, or printed
}

const (
	redrawEvery = 100 * time.Millisecond
	statusEvery = 5 * time.Second
)

// newConsole prints to out, which is a terminal of that many columns, or none
// if that is 0.
func newConsole(out io.Writer, columns int) *console {
	c := &console{out: out, columns: usualColumns, live: columns > 0, now: time.Now}
	if c.live {
		c.columns = min(max(columns-1, leastColumns), mostColumns)
	}
	c.started = c.now()
	c.status = c.started
	return c
}

// say prints what happened.
func (c *console) say(who, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	c.line(who, fmt.Sprintf(format, args...))
}

// show says how things stand: on a terminal at once, elsewhere every few
// seconds.
func (c *console) show(who, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	every := statusEvery
	if c.live {
		every = redrawEvery
	}
	now := c.now()
	if now.Sub(c.status) < every {
		return
	}
	c.status = now
	text := fmt.Sprintf(format, args...)
	if !c.live {
		c.line(who, text)
		return
	}
	c.clear()
	fmt.Fprint(c.out, cli.Cut(c.head(who)+text, c.columns))
	c.drawn = true
}

// title begins a part of the story.
func (c *console) title(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	fmt.Fprintf(c.out, "\n── %s %s\n", text, strings.Repeat("─", max(c.columns-4-len([]rune(text)), 0)))
}

// print prints text as it is.
func (c *console) print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	fmt.Fprint(c.out, text)
}

// done takes the line at the bottom away.
func (c *console) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
}

func (c *console) clear() {
	if c.drawn {
		fmt.Fprint(c.out, "\r\x1b[K")
		c.drawn = false
	}
}

// line prints text behind its head, folded under itself.
func (c *console) line(who, text string) {
	head := c.head(who)
	for _, part := range fold(text, c.columns-timeColumns-whoColumns) {
		fmt.Fprintf(c.out, "%s%s\n", head, part)
		head = strings.Repeat(" ", timeColumns+whoColumns)
	}
}

func (c *console) head(who string) string {
	return fmt.Sprintf("%*s  %-*s", timeColumns-2, clock(c.now().Sub(c.started)), whoColumns, who)
}

// clock writes a time since the start: 1:02.5.
func clock(d time.Duration) string {
	tenths := d.Milliseconds() / 100
	return fmt.Sprintf("%d:%02d.%d", tenths/600, tenths/10%60, tenths%10)
}

// fold breaks text at blanks into lines of at most that many columns. A longer
// word has a line of its own.
func fold(text string, columns int) []string {
	var lines []string
	line, width := "", 0
	for word := range strings.FieldsSeq(text) {
		n := len([]rune(word))
		switch {
		case line == "":
			line, width = word, n
		case width+1+n <= columns:
			line, width = line+" "+word, width+1+n
		default:
			lines = append(lines, line)
			line, width = word, n
		}
	}
	return append(lines, line)
}
