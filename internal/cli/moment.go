package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a flag's value that takes days beside what time.ParseDuration
// does: 90s, 1h30m, 7d, 1d12h. Negative ones are refused.
type Duration time.Duration

// String writes it so that Set reads it.
func (d *Duration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Type is what help shows.
func (d *Duration) Type() string { return "duration" }

// Set reads it.
func (d *Duration) Set(text string) error {
	parsed, err := ParseDuration(text)
	*d = Duration(parsed)
	return err
}

// ParseDuration reads a [Duration].
func ParseDuration(text string) (time.Duration, error) {
	const day = 24 * time.Hour
	rest, days := text, time.Duration(0)
	if number, after, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, badDuration(text)
		}
		days, rest = time.Duration(n)*day, after
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days > math.MaxInt64-d {
		return 0, badDuration(text)
	}
	return days + d, nil
}

func badDuration(text string) error {
	return fmt.Errorf("%q is no duration: write 90s, 5m, 1h30m or 7d", text)
}

// ParseAhead reads a time (2026-05-01T12:00:00Z, or 2026-05-01 in UTC) or how far
// it is ahead of now.
func ParseAhead(text string, now time.Time) (time.Time, error) {
	return parseMoment(text, func(d time.Duration) time.Time { return now.Add(d) })
}

// ParseAgo reads a time or how long ago it was: 2h, or 2h ago.
func ParseAgo(text string, now time.Time) (time.Time, error) {
	return parseMoment(strings.TrimSuffix(text, " ago"), func(d time.Duration) time.Time { return now.Add(-d) })
}

func parseMoment(text string, at func(time.Duration) time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	d, err := ParseDuration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time: write 2026-05-01T12:00:00Z, or a duration such as 2h", text)
	}
	return at(d), nil
}
