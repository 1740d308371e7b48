package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Errors of keys and values.
var (
	ErrUnknownKey = errors.New("there is no such setting")
	ErrValue      = errors.New("the setting cannot have this value")
)

// Definition is one setting.
type Definition struct {
	Key         string
	Default     string
	Description string
	// Check tells what is wrong with a value, in words that follow on the key.
	Check func(value string) error
}

// Setting is a definition whose values stand for Ts.
type Setting[T any] struct {
	Definition
	parse func(string) (T, error)
}

// Define makes a setting of any type. The default must be one of its values.
func Define[T any](key, byDefault, description string, parse func(string) (T, error)) Setting[T] {
	s := Setting[T]{Definition{Key: key, Default: byDefault, Description: description}, parse}
	s.Check = func(value string) error {
		_, err := parse(value)
		return err
	}
	return s
}

// In returns the value in effect. Values must have the setting's definition.
func (s Setting[T]) In(v *Values) T {
	value, err := s.parse(v.value(s.Key))
	if err != nil {
		panic(fmt.Sprintf("settings: %s has a value that was never checked: %v", s.Key, err))
	}
	return value
}

// Choice is one of some words.
func Choice[T ~string](key string, byDefault T, description string, words ...T) Setting[T] {
	return Define(key, string(byDefault), description, func(value string) (T, error) {
		if slices.Contains(words, T(value)) {
			return T(value), nil
		}
		named := make([]string, len(words))
		for i, w := range words {
			named[i] = string(w)
		}
		return "", fmt.Errorf("is %q: use %s or %s", value, strings.Join(named[:len(named)-1], ", "), named[len(named)-1])
	})
}

// Int is a number from least to most.
func Int(key string, byDefault, least, most int64, description string) Setting[int64] {
	return Define(key, strconv.FormatInt(byDefault, 10), description, func(value string) (int64, error) {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("is %q: write a number from %d to %d", value, least, most)
		}
		return n, nil
	})
}

// Duration is a time of least or more, such as 500ms, 15s or 1h30m.
func Duration(key string, byDefault, least time.Duration, description string) Setting[time.Duration] {
	return Define(key, FormatDuration(byDefault), description, func(value string) (time.Duration, error) {
		d, err := time.ParseDuration(value)
		switch {
		case err != nil:
			return 0, fmt.Errorf("is %q: write a duration such as 500ms, 15s or 1h30m", value)
		case d < least:
			return 0, fmt.Errorf("is %q: at least %s", value, FormatDuration(least))
		}
		return d, nil
	})
}

// Bytes is a size of least or more, such as 512, 64KiB or 32MiB; 0 is allowed when zero says so.
func Bytes(key string, byDefault, least int64, zero bool, description string) Setting[int64] {
	return Define(key, FormatBytes(byDefault), description, func(value string) (int64, error) {
		n, err := parseBytes(value)
		switch {
		case err != nil:
			return 0, err
		case n < least && (n != 0 || !zero):
			return 0, fmt.Errorf("is %q: at least %s", value, FormatBytes(least))
		}
		return n, nil
	})
}

var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func parseBytes(value string) (int64, error) {
	number, unit := value, int64(1)
	for _, u := range units {
		if rest, found := strings.CutSuffix(value, u.name); found {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<63-1)/unit {
		return 0, fmt.Errorf("is %q: write a size such as 512, 64KiB, 32MiB or 1GiB", value)
	}
	return n * unit, nil
}

// FormatBytes writes a size as a setting reads it, with the largest unit that keeps it whole.
func FormatBytes(n int64) string {
	for _, u := range units {
		if n != 0 && u.bytes > 1 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// FormatDuration writes a duration as a setting reads it: 2m, not 2m0s.
func FormatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
