package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// exampleOfTypes is what the sample shows in comments from "# types:" on.
func exampleOfTypes(t testing.TB) string {
	t.Helper()
	sample, err := os.ReadFile("../../config.sample.yml")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(sample), "\n# types:\n")
	require.True(t, found)
	text := "types:\n"
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "#   ") {
			return text
		}
		text += strings.TrimPrefix(line, "# ")
	}
	return text
}
