package testkit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit"
	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

func TestEnvironmentNamesServers(t *testing.T) {
	testkit.SkipIfShort(t)
	t.Setenv(servers.EnvKafka, "one:9092,two:9092")
	t.Setenv(servers.EnvRedis, "elsewhere:6379")
	require.Equal(t, []string{"one:9092", "two:9092"}, testkit.Kafka(t))
	require.Equal(t, "elsewhere:6379", testkit.Redis(t))
}

func TestEnvironmentNamesAnS3ServerWithItsKeys(t *testing.T) {
	given := testkit.S3(t)
	t.Setenv(servers.EnvS3, "http://"+given.AccessKey+":"+given.SecretKey+"@"+given.Endpoint[len("http://"):])
	named := testkit.S3(t)
	require.NotEqual(t, given.Name, named.Name)
	named.Name = given.Name
	require.Equal(t, given, named)
}

func TestShortRunsLeaveRealServersOut(t *testing.T) {
	t.Setenv("OFFLINE_TEST_SHORT", "1")
	left := false
	t.Run("out", func(t *testing.T) {
		defer func() { left = t.Skipped() }()
		testkit.Kafka(t)
	})
	require.True(t, left)
}
