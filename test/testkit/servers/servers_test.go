package servers_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit"
	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

func TestMissingProgramsSayHowToGetThem(t *testing.T) {
	nothing := servers.Options{Where: servers.Local, Cache: t.TempDir()}
	_, err := servers.StartS3(t.Context(), nothing, t.TempDir())
	require.ErrorIs(t, err, servers.ErrMissing)
	require.ErrorContains(t, err, "make deps")

	t.Setenv("PATH", t.TempDir())
	_, err = servers.StartRedis(t.Context(), nothing, servers.RedisConfig{}, t.TempDir())
	require.ErrorIs(t, err, servers.ErrMissing)
	require.ErrorContains(t, err, "redis-server")
	_, err = servers.StartKafka(t.Context(), nothing, servers.KafkaConfig{}, t.TempDir())
	require.ErrorIs(t, err, servers.ErrMissing)
	require.ErrorContains(t, err, "java")
}

func TestFailedStartShowsTheServersLastWords(t *testing.T) {
	testkit.SkipIfShort(t)
	_, err := servers.StartRedis(t.Context(), servers.Options{Where: servers.Local},
		servers.RedisConfig{Args: []string{"--maxmemory", "nonsense"}}, t.TempDir())
	require.ErrorContains(t, err, "argument must be a memory value")
}

func TestSetStartsOneServerOfAKind(t *testing.T) {
	testkit.SkipIfShort(t)
	dir := t.TempDir()
	set := servers.NewSet(servers.Options{Where: servers.Local}, dir)
	first, err := set.Start(t.Context(), servers.Redis)
	require.NoError(t, err)
	second, err := set.Start(t.Context(), servers.Redis)
	require.NoError(t, err)
	require.Same(t, first, second)
	require.FileExists(t, filepath.Join(dir, "redis", "0", "server.log"))
	name, value := first.Variable()
	require.Equal(t, servers.EnvRedis, name)
	require.Equal(t, first.Addr, value)

	require.NoError(t, set.Stop(t.Context()))
	require.Error(t, first.Terminate(t.Context()), "it has ended")

	_, err = set.Start(t.Context(), "teapot")
	require.ErrorContains(t, err, "teapot")
}

func TestOptionsRefuseUnknownPlaces(t *testing.T) {
	t.Setenv("OFFLINE_TEST_SERVERS", "cloud")
	_, err := servers.FromEnvironment()
	require.ErrorContains(t, err, "cloud")

	t.Setenv("OFFLINE_TEST_SERVERS", "local")
	options, err := servers.FromEnvironment()
	require.NoError(t, err)
	require.Equal(t, servers.Local, options.Where)
}
