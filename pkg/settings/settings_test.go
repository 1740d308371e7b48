package settings_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/settings"
)

var (
	mode  = settings.Choice("mode", "auto", "where", "off", "auto", "always")
	depth = settings.Int("depth", 100, 1, 1000, "how many")
	age   = settings.Duration("age", 2*time.Minute, time.Second, "how long")
	rate  = settings.Bytes("rate", 20<<20, 64<<10, true, "how fast")
)

func definitions() []settings.Definition {
	return []settings.Definition{mode.Definition, depth.Definition, age.Definition, rate.Definition}
}

func Example() {
	values, err := settings.New(settings.Config{Definitions: definitions(), Configured: map[string]string{"depth": "7"}})
	fmt.Println(err, depth.In(values), mode.In(values))
	fmt.Println(values.Apply("mode", []byte("always")), mode.In(values))
	fmt.Println(values.Apply("mode", []byte("maybe")), "-", mode.In(values))
	// Output:
	// <nil> 7 auto
	// <nil> always
	// the setting cannot have this value: mode is "maybe": use off, auto or always - always
}

func TestWhichSourceCounts(t *testing.T) {
	changes := 0
	v, err := settings.New(settings.Config{
		Definitions: definitions(), Configured: map[string]string{"depth": "7"}, Changed: func() { changes++ },
	})
	require.NoError(t, err)
	source := func() settings.Source { return v.All()[1].Source }
	require.Equal(t, settings.Configured, source())
	require.EqualValues(t, 7, depth.In(v))
	require.NoError(t, v.Apply("depth", []byte("8")))
	require.EqualValues(t, 8, depth.In(v))
	require.Equal(t, settings.Stored, source())
	nine := "9"
	require.NoError(t, v.Override("depth", &nine))
	require.NoError(t, v.Apply("depth", []byte("10")))
	require.EqualValues(t, 9, depth.In(v))
	require.Equal(t, settings.Override, source())
	require.Equal(t, 2, changes, "what is overridden changes nothing")
	require.NoError(t, v.Override("depth", nil))
	require.EqualValues(t, 10, depth.In(v))
	require.NoError(t, v.Apply("depth", nil))
	require.EqualValues(t, 7, depth.In(v))
	require.Equal(t, 4, changes)
	require.Equal(t, settings.Default, v.All()[0].Source)
	require.NoError(t, v.Apply("schedule/nightly", []byte("{}")), "others' keys are passed over")
}

func TestWhatIsRefused(t *testing.T) {
	for value, key := range map[string]string{
		`"maybe": use off, auto or always`:               "mode",
		`"0": write a number from 1 to 1000`:             "depth",
		`"many": write a number from 1 to 1000`:          "depth",
		`"500ms": at least 1s`:                           "age",
		`"2": write a duration such as`:                  "age",
		`"5": at least 64KiB`:                            "rate",
		`"64kb": write a size such as`:                   "rate",
		`"-1": write a size such as`:                     "rate",
		`"9223372036854775807KiB": write a size such as`: "rate",
	} {
		var text string
		_, err := fmt.Sscanf(value, "%q:", &text)
		require.NoError(t, err)
		err = settings.Check(definitions(), key, text)
		require.ErrorIs(t, err, settings.ErrValue)
		require.ErrorContains(t, err, key+" is "+value)
	}
	v, err := settings.New(settings.Config{Definitions: definitions()})
	require.NoError(t, err)
	require.ErrorIs(t, v.Override("mood", nil), settings.ErrUnknownKey)
	require.ErrorContains(t, v.Check("mood", "good"), "mode, depth, age, rate")
	_, err = settings.New(settings.Config{Definitions: append(definitions(), mode.Definition), Configured: map[string]string{"age": "x", "z": "1"}})
	require.ErrorContains(t, err, "mode is defined twice")
	require.ErrorIs(t, err, settings.ErrValue)
	require.ErrorIs(t, err, settings.ErrUnknownKey)
}

func TestSizesAndTimesAreReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, d := rapid.Int64Range(0, math.MaxInt64).Draw(t, "bytes"), rapid.Int64Range(0, math.MaxInt64).Draw(t, "nanoseconds")
		v, err := settings.New(settings.Config{
			Definitions: []settings.Definition{settings.Bytes("b", n, 0, true, "").Definition, settings.Duration("d", time.Duration(d), 0, "").Definition},
		})
		require.NoError(t, err)
		require.Equal(t, n, settings.Bytes("b", 0, 0, true, "").In(v))
		require.Equal(t, time.Duration(d), settings.Duration("d", 0, 0, "").In(v))
	})
	require.Equal(t, "1h30m", settings.FormatDuration(90*time.Minute))
	require.Equal(t, "2h", settings.FormatDuration(2*time.Hour))
}
