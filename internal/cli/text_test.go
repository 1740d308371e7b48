package cli_test

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/internal/cli"
)

func TestCleanTextCannotMoveTheCursor(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                             "plain",
		"two\nlines\r\nand\tx":              "two lines and x",
		"\x1b[31mred\x07":                   `\x1b[31mred\x07`,
		"caf\u00e9 \u6771\u4eac \U0001F600": "caf\u00e9 \u6771\u4eac \U0001F600",
		"a\u202eb\u009bc\u200b":             `a\u202eb\u009bc\u200b`,
		"bad \xff\xfe":                      `bad \xff\xfe`,
		"a\rb":                              "a b",
	} {
		require.Equal(t, want, cli.Clean(text))
	}
	require.Equal(t, "two\nlines\nand\tx \\x1b", cli.CleanLines("two\nlines\r\nand\tx \x1b"))
	rapid.Check(t, func(t *rapid.T) {
		text := cli.Clean(string(rapid.SliceOf(rapid.Byte()).Draw(t, "text")))
		for _, r := range text {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q has %U", text, r)
			}
		}
	})
}

func TestCut(t *testing.T) {
	require.Equal(t, "whole", cli.Cut("whole", 5))
	require.Equal(t, "who…", cli.Cut("whole", 4))
	require.Equal(t, "a…", cli.Cut("a word", 3), "no blank before the mark")
	require.Equal(t, "東…", cli.Cut("東京都", 4), "wide letters take two columns")
	require.Equal(t, "…", cli.Cut("whole", 1))
	require.Empty(t, cli.Cut("whole", 0))
}

func TestDurationsForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 0: "0ms", 61 * time.Millisecond: "61ms", 3 * time.Second: "3s", 3260 * time.Millisecond: "3.2s",
		45 * time.Second: "45s", 2 * time.Minute: "2m", 150 * time.Second: "2m30s", 42*time.Minute + 3*time.Second: "42m",
		3 * time.Hour: "3h", 3*time.Hour + 5*time.Minute: "3h5m", 47 * time.Hour: "1d", 400 * 24 * time.Hour: "400d",
	} {
		require.Equal(t, want, cli.Ago(d))
	}
}

func TestNumbersForPeople(t *testing.T) {
	require.Equal(t, "1 task", cli.Count(1, "task"))
	require.Equal(t, "1,204,000 tasks", cli.Count(1204000, "task"))
	require.Equal(t, "0 tasks", cli.Count(0, "task"))
	require.Equal(t, "812 B", cli.Size(812))
	require.Equal(t, "3.2 MiB", cli.Size(3355443))
}

func TestWrap(t *testing.T) {
	require.Equal(t, []string{"one two", "three", "averyverylongword", "end"}, cli.Wrap("one two three averyverylongword end", 9))
	require.Equal(t, []string{"a", "b"}, cli.Wrap("a\nb", 9))
}

func TestDurationsAndTimesThatAreTyped(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0} {
		d, err := cli.ParseDuration(text)
		require.NoError(t, err)
		require.Equal(t, want, d)
	}
	for _, text := range []string{"", "5", "d", "-3s", "1.5d", "3 s", "soon", "70000d", "65535d2562047h"} {
		_, err := cli.ParseDuration(text)
		require.ErrorContains(t, err, "write 90s, 5m", text)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2h": now.Add(-2 * time.Hour), "2h ago": now.Add(-2 * time.Hour), "2026-04-30": now.Add(-36 * time.Hour),
		"2026-05-01 10:00:00": now.Add(-2 * time.Hour), "2026-05-01T12:00:00+02:00": now.Add(-2 * time.Hour),
	} {
		at, err := cli.ParseAgo(text, now)
		require.NoError(t, err)
		require.True(t, want.Equal(at), "%s is %s", text, at)
	}
	ahead, err := cli.ParseAhead("2h", now)
	require.NoError(t, err)
	require.Equal(t, now.Add(2*time.Hour), ahead)
}

func TestATableFitsItsTerminal(t *testing.T) {
	columns := []cli.Column{
		{Title: "ID"}, {Title: "TYPE", Least: 4}, {Title: "NODE", Spare: true}, {Title: "EMPTY", Spare: true}, {Title: "NOTE", Least: 6},
	}
	table := cli.NewTable(columns...)
	require.Zero(t, table.Len())
	table.Row("an-id-that-is-copied", "image.resize", "node-1", "", "a note that is rather long")
	table.Row("b", "x", "node-2", "", "")
	write := func(width int) string {
		var b strings.Builder
		require.NoError(t, table.Write(&b, width))
		return b.String()
	}
	require.Equal(t, ""+
		"ID                    TYPE          NODE    NOTE\n"+
		"an-id-that-is-copied  image.resize  node-1  a note that is rather long\n"+
		"b                     x             node-2\n", write(0))
	require.Equal(t, ""+
		"ID                    TYPE          NODE    NOTE\n"+
		"an-id-that-is-copied  image.resize  node-1  a note tha…\n"+
		"b                     x             node-2\n", write(55), "the note is cut first")
	require.Equal(t, ""+
		"ID                    TYPE          NOTE\n"+
		"an-id-that-is-copied  image.resize  a note th…\n"+
		"b                     x\n", write(46), "then a spare column goes, and the note has its room")
	require.Equal(t, ""+
		"ID                    TYPE  NOTE\n"+
		"an-id-that-is-copied  ima…  a not…\n"+
		"b                     x\n", write(34), "then the type is cut")
	require.Contains(t, write(10), "an-id-that-is-copied", "an id never is")
	rapid.Check(t, func(r *rapid.T) {
		table := cli.NewTable(columns...)
		for range rapid.IntRange(0, 5).Draw(r, "rows") {
			table.Row("0190c3a4", rapid.String().Draw(r, "type"), rapid.String().Draw(r, "node"), "", rapid.String().Draw(r, "note"))
		}
		var b strings.Builder
		width := rapid.IntRange(22, 200).Draw(r, "width")
		require.NoError(t, table.Write(&b, width))
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			require.Equal(t, line, cli.Cut(line, width))
			require.Equal(t, strings.TrimRight(line, " "), line)
		}
	})
}

func TestTheWorstStatusCounts(t *testing.T) {
	require.Equal(t, cli.Done, cli.Done.Worse(cli.Done))
	require.Equal(t, cli.Cancelled, cli.Done.Worse(cli.Cancelled))
	require.Equal(t, cli.Unknown, cli.Cancelled.Worse(cli.Unknown))
	require.Equal(t, cli.Failed, cli.Unknown.Worse(cli.Failed))
	require.Equal(t, cli.NotDone, cli.NotDone.Worse(cli.Failed))
	require.NoError(t, cli.End(cli.Done))
	require.Error(t, cli.End(cli.Failed))
}
