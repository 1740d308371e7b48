package config_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

// FuzzLoad reads anything as a settings file. What is accepted says the same when it is written down and read again.
func FuzzLoad(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		from := config.Sources{File: file(t, text), Environ: []string{}}
		settings, err := config.Load(from)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		once := dump(t, settings)
		again, err := config.Load(config.Sources{File: file(t, once), Environ: []string{}})
		require.NoError(t, err, "%s", once)
		require.Equal(t, values(once), values(dump(t, again)))
	})
}

// origin is the remark that tells where a setting comes from.
var origin = regexp.MustCompile(`(?m) # \S+ line \d+$`)

func values(dump string) string { return origin.ReplaceAllString(dump, "") }
