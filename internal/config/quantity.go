package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size. It reads as 512, 64KiB, 32MiB, 1.5GiB (powers of 1024) or
// 64kB, 32MB (powers of 1000).
type Bytes int64

var sizes = []struct {
	name   string
	factor int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"B", 1},
}

// String writes the size with the largest unit that keeps it whole.
func (b Bytes) String() string {
	for _, unit := range sizes {
		if b != 0 && unit.factor > 1 && int64(b)%unit.factor == 0 {
			return strconv.FormatInt(int64(b)/unit.factor, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

func parseBytes(text string) (Bytes, error) {
	number, factor := strings.TrimSpace(text), int64(1)
	for _, unit := range sizes {
		if n := len(number) - len(unit.name); n > 0 && strings.EqualFold(number[n:], unit.name) {
			number, factor = strings.TrimSpace(number[:n]), unit.factor
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/factor {
		return Bytes(n * factor), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || !(f >= 0) || f*float64(factor) >= math.MaxInt64 {
		return 0, fmt.Errorf("write a size such as 512, 64KiB, 32MiB or 1GiB")
	}
	return Bytes(f * float64(factor)), nil
}

const day = 24 * time.Hour

// parseDuration reads what time.ParseDuration does, and days.
func parseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if _, err := strconv.ParseFloat(text, 64); err == nil && strings.Trim(text, "0.") != "" {
		return 0, fmt.Errorf("a duration needs a unit: write %ss, %sm, %sh or %sd", text, text, text, text)
	}
	var days time.Duration
	rest := text
	if number, after, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, errDuration
		}
		days, rest = time.Duration(n)*day, after
	}
	if rest == "" && days > 0 || rest == "" && text == "0d" {
		return days, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days > 0 && d > math.MaxInt64-days {
		return 0, errDuration
	}
	return days + d, nil
}

var errDuration = fmt.Errorf("write a duration such as 500ms, 15s, 1h30m or 7d")

// formatDuration writes a duration as short as parseDuration can read it back.
func formatDuration(d time.Duration) string {
	if d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-2]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-2]
	}
	return text
}
