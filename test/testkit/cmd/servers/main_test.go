package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit"
	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

func TestCommandGetsAddressesAndGivesItsStatus(t *testing.T) {
	testkit.SkipIfShort(t)
	t.Setenv(servers.EnvRedis, "")
	t.Setenv("TMPDIR", t.TempDir()) // for the logs that stay
	var out bytes.Buffer
	code, err := run(t.Context(), []string{"redis"}, []string{"sh", "-c", `case $OFFLINE_TEST_REDIS in 127.0.0.1:*) exit 7;; esac`}, &out)
	require.NoError(t, err)
	require.Equal(t, 7, code)
	require.Contains(t, out.String(), "export OFFLINE_TEST_REDIS=127.0.0.1:")
	require.Contains(t, out.String(), "logs are kept in")
}

func TestGivenServersAreLeftAlone(t *testing.T) {
	t.Setenv(servers.EnvRedis, "elsewhere:6379")
	var out bytes.Buffer
	code, err := run(t.Context(), []string{"redis"}, []string{"sh", "-c", `test "$OFFLINE_TEST_REDIS" = elsewhere:6379`}, &out)
	require.NoError(t, err)
	require.Zero(t, code)
	require.Contains(t, out.String(), "as the environment says")
}

func TestUnknownKindsAndCommandsAreErrors(t *testing.T) {
	code, err := run(t.Context(), []string{"teapot"}, nil, &bytes.Buffer{})
	require.ErrorContains(t, err, "teapot")
	require.Equal(t, 1, code)

	t.Setenv(servers.EnvRedis, "elsewhere:6379")
	code, err = run(t.Context(), []string{"redis"}, []string{"/no/such/command"}, &bytes.Buffer{})
	require.ErrorContains(t, err, "/no/such/command")
	require.Equal(t, 1, code)
}
