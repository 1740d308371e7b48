package demo

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeClock is a console whose time stands still until it is moved.
func fakeConsole(columns int) (*console, *strings.Builder, func(time.Duration)) {
	var out strings.Builder
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := newConsole(&out, columns)
	c.now = func() time.Time { return now }
	c.started, c.status = now, now
	return c, &out, func(d time.Duration) { now = now.Add(d) }
}

func TestConsoleFoldsLinesUnderThemselves(t *testing.T) {
	t.Parallel()
	c, out, pass := fakeConsole(0)
	pass(62540 * time.Millisecond)
	c.say("node-1", "%s", strings.Repeat("word ", 20))
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	require.Equal(t, []string{
		"1:02.5  node-1     " + strings.TrimSpace(strings.Repeat("word ", 14)),
		"                   " + strings.TrimSpace(strings.Repeat("word ", 6)),
	}, lines)
	for _, line := range lines {
		require.LessOrEqual(t, len(line), usualColumns)
	}
}

func TestStatusIsALineAtTheBottomOfATerminal(t *testing.T) {
	t.Parallel()
	c, out, pass := fakeConsole(80)
	pass(time.Second)
	c.show("a", "10 %%")
	c.show("a", "11 %%") // too soon
	pass(time.Second)
	c.show("a", "20 %%")
	c.say("b", "news")
	c.done()
	require.Equal(t, "0:01.0  a          10 %\r\x1b[K0:02.0  a          20 %\r\x1b[K0:02.0  b          news\n", out.String())
}

func TestStatusIsPrintedNowAndThenElsewhere(t *testing.T) {
	t.Parallel()
	c, out, pass := fakeConsole(0)
	for range 24 {
		pass(time.Second / 2)
		c.show("a", "working")
	}
	require.Equal(t, "0:05.0  a          working\n0:10.0  a          working\n", out.String())
}

func TestFold(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{""}, fold("", 10))
	require.Equal(t, []string{"one two", "three"}, fold(" one  two three ", 9))
	require.Equal(t, []string{"averylongword", "x"}, fold("averylongword x", 5))
}
