package testkit_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// Packages check that their tests leave no goroutine: the testkit must not be the one that does.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNamesAreUniqueAndLegal(t *testing.T) {
	t.Run("with a space, a slash / and ümlauts in a name that is much too long for a topic", func(t *testing.T) {
		name := testkit.Name(t)
		require.Regexp(t, `^[A-Za-z0-9-]{1,59}$`, name)
		require.NotEqual(t, name, testkit.Name(t))
	})
}

func TestKafkaTakesRecords(t *testing.T) {
	addrs := testkit.Kafka(t)
	client := kafkaClient(t, addrs...)
	topic := testkit.Name(t)
	createTopic(t, client, topic)
	require.NoError(t, client.ProduceSync(t.Context(), record(topic, "hello"), record(topic, "again")).FirstErr())

	require.EqualValues(t, 2, endOffset(t, client, topic))
	require.Equal(t, addrs, testkit.Kafka(t), "whoever asks again gets the same broker")
}

func TestRedisKeepsWhatClaimsNeed(t *testing.T) {
	client := redisClient(t, testkit.Redis(t))
	settings, err := client.ConfigGet(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Equal(t, "noeviction", settings["maxmemory-policy"])
	require.Equal(t, "yes", settings["appendonly"])
	require.Equal(t, "everysec", settings["appendfsync"])
}

func TestS3GivesEachTestABucket(t *testing.T) {
	one, two := testkit.S3(t), testkit.S3(t)
	require.NotEqual(t, one.Name, two.Name)
	require.Equal(t, one.Endpoint, two.Endpoint)
}

func TestRedisComesBackWithItsData(t *testing.T) {
	for name, end := range map[string]func(*testkit.Server){
		"killed":     (*testkit.Server).Kill,
		"terminated": (*testkit.Server).Terminate,
	} {
		t.Run(name, func(t *testing.T) {
			server := testkit.StartRedis(t, "--appendfsync", "always")
			client := redisClient(t, server.Addr)
			require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())

			end(server)
			require.Error(t, client.Ping(t.Context()).Err())
			server.Restart()
			require.Equal(t, "value", client.Get(t.Context(), "key").Val())
		})
	}
}

func TestPausedRedisAnswersWhenResumed(t *testing.T) {
	server := testkit.StartRedis(t)
	client := redisClient(t, server.Addr)
	require.NoError(t, client.Ping(t.Context()).Err())

	server.Pause()
	answered := make(chan error, 1)
	go func() { answered <- client.Ping(context.WithoutCancel(t.Context())).Err() }()
	select {
	case err := <-answered:
		require.Fail(t, "a paused server answered", "error: %v", err)
	default:
	}
	server.Resume()
	require.NoError(t, <-answered)
}

func TestPausedServerCanBeKilled(t *testing.T) {
	server := testkit.StartRedis(t)
	server.Pause()
	server.Kill()
	server.Restart()
	require.NoError(t, redisClient(t, server.Addr).Ping(t.Context()).Err())
}

func TestKafkaComesBackWithItsRecords(t *testing.T) {
	server := testkit.StartKafka(t, map[string]string{"message.max.bytes": "2000000"})
	client := kafkaClient(t, server.Addr)
	topic := testkit.Name(t)
	createTopic(t, client, topic)
	require.NoError(t, client.ProduceSync(t.Context(), record(topic, "before")).FirstErr())

	server.Kill()
	server.Restart()
	require.NoError(t, client.ProduceSync(t.Context(), record(topic, "after")).FirstErr())
	require.EqualValues(t, 2, endOffset(t, client, topic))

	configs, err := kadm.NewClient(client).DescribeBrokerConfigs(t.Context(), 1)
	require.NoError(t, err)
	var limit string
	for _, config := range configs[0].Configs {
		if config.Key == "message.max.bytes" {
			limit = config.MaybeValue()
		}
	}
	require.Equal(t, "2000000", limit, "the test's own property wins")
}

func kafkaClient(t *testing.T, addrs ...string) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func createTopic(t *testing.T, client *kgo.Client, topic string) {
	t.Helper()
	_, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, topic)
	require.NoError(t, err)
}

func record(topic, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Value: []byte(value)}
}

func endOffset(t *testing.T, client *kgo.Client, topic string) int64 {
	t.Helper()
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), topic)
	require.NoError(t, err)
	end, found := ends.Lookup(topic, 0)
	require.True(t, found)
	return end.Offset
}

func redisClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}
