package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "0d": 0, "500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute,
		"7d": 7 * day, "1d12h": 36 * time.Hour, " 5s ": 5 * time.Second, "1.5h": 90 * time.Minute,
	} {
		d, err := parseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, d, text)
	}
	for _, text := range []string{"", "10", "1.5", "-5s", "5", "d", "1.5d", "5x", "1d-2h", "9999999h", "70000d", "12h1d", "NaN", "1e3"} {
		_, err := parseDuration(text)
		require.Error(t, err, text)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "512": 512, "512B": 512, "64KiB": 64 << 10, "64kib": 64 << 10, "32 MiB": 32 << 20,
		"1.5GiB": 3 << 29, "1TiB": 1 << 40, "64kB": 64000, "2MB": 2e6,
	} {
		b, err := parseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, b, text)
	}
	for _, text := range []string{"", "-1", "1x", "KiB", "NaN", "Inf", "99999999TiB", "1 2"} {
		_, err := parseBytes(text)
		require.Error(t, err, text)
	}
}

func TestWhatIsWrittenCanBeReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(60000*day)).Draw(t, "duration"))
		if rapid.Bool().Draw(t, "round") {
			d = d.Round(time.Minute)
		}
		again, err := parseDuration(formatDuration(d))
		require.NoError(t, err)
		require.Equal(t, d, again)

		b := Bytes(rapid.Int64Min(0).Draw(t, "bytes"))
		if shift := rapid.IntRange(0, 40).Draw(t, "shift"); b<<shift>>shift == b {
			b <<= shift
		}
		size, err := parseBytes(b.String())
		require.NoError(t, err)
		require.Equal(t, b, size)
	})
}

func TestNearest(t *testing.T) {
	names := []string{"brokers", "client_id", "prefix", "tls"}
	for name, want := range map[string]string{
		"broker": "brokers", "borkers": "brokers", "Brokers": "brokers", "clientid": "client_id", "tsl": "tls", "x": "", "retention": "",
	} {
		require.Equal(t, want, nearest(name, names), name)
	}
}

func TestDistanceIsSymmetricAndZeroOnlyForEqual(t *testing.T) {
	word := rapid.StringMatching(`[ab_]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		require.Equal(t, distance(a, b), distance(b, a))
		require.Equal(t, a == b, distance(a, b) == 0)
		require.LessOrEqual(t, distance(a, b), max(len(a), len(b)))
	})
}
