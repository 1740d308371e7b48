package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Clean makes text from anywhere safe to print on one line: line breaks and
// tabs become blanks, and whatever else could move the cursor, change colours
// or turn the direction of writing shows as its code.
func Clean(text string) string { return clean(text, false) }

// CleanLines is [Clean] for text of many lines.
func CleanLines(text string) string { return clean(text, true) }

func clean(text string, lines bool) string {
	if isPlain(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r == '\n' && lines, r == '\t' && lines, unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\r' && strings.HasPrefix(text[i+1:], "\n"): // the line break follows
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	return b.String()
}

func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// columnsOf is how many columns of a terminal text takes.
func columnsOf(text string) int {
	if isPlain(text) {
		return len(text)
	}
	return uniseg.StringWidth(text)
}

// Cut shortens text to a number of columns, with … where something is missing.
func Cut(text string, columns int) string {
	if columnsOf(text) <= columns {
		return text
	}
	if columns <= 0 {
		return ""
	}
	var b strings.Builder
	room := columns - 1
	for graphemes := uniseg.NewGraphemes(text); graphemes.Next(); {
		if room -= graphemes.Width(); room < 0 {
			break
		}
		b.WriteString(graphemes.Str())
	}
	return strings.TrimRight(b.String(), " ") + "…"
}

// Ago says how long something is past or lasts, in at most two units: 45s,
// 12m, 3h5m, 9d.
func Ago(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.Replace(fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds()), ".0s", "s", 1)
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 10*time.Minute && d%time.Minute >= time.Second:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour && d%time.Hour >= time.Minute:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// Since is [Ago] of a time, or "" for the zero one.
func Since(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return Ago(now.Sub(t))
}

// Count writes a number with its noun, which ends in s unless there is one: 1 task, 1,204 tasks.
func Count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return Thousands(n) + " " + noun
}

// Thousands writes a number with commas.
func Thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Size writes a number of bytes: 812 B, 3.2 MiB.
func Size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 5 {
		value, prefix = value/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[prefix])
}

// Wrap breaks text into lines of at most so many columns, at blanks where it
// can.
func Wrap(text string, columns int) (lines []string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			if line != "" && columnsOf(line)+1+columnsOf(word) > columns {
				lines, line = append(lines, line), ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		lines = append(lines, line)
	}
	return lines
}
