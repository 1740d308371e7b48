package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/internal/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, options embedded.Options) *embedded.Servers {
	t.Helper()
	servers, err := embedded.Start(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(servers.Stop)
	return servers
}

// kafka connects to the broker.
func kafka(t testing.TB, servers *embedded.Servers, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	options = append(options, kgo.SeedBrokers(servers.Addresses.Kafka))
	if servers.KafkaDialer != nil {
		options = append(options, kgo.Dialer(servers.KafkaDialer))
	}
	client, err := kgo.NewClient(options...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// connect connects to Redis.
func connect(t testing.TB, servers *embedded.Servers) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: servers.Addresses.Redis, Dialer: servers.RedisDialer,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestTheBrokerDoesWhatTheQueueAsksOfKafka(t *testing.T) {
	servers := start(t, embedded.Options{})
	admin := kadm.NewClient(kafka(t, servers))
	created, err := admin.CreateTopics(t.Context(), 6, -1, map[string]*string{
		"retention.ms": new("604800000"), "cleanup.policy": new("compact"), "min.insync.replicas": new("1"),
		"message.timestamp.type": new("LogAppendTime"), "max.message.bytes": new("2000000"),
	}, "tasks.settings")
	require.NoError(t, err)
	require.NoError(t, created.Error())

	configs, err := admin.DescribeTopicConfigs(t.Context(), "tasks.settings")
	require.NoError(t, err)
	shown := map[string]string{}
	for _, c := range configs[0].Configs {
		shown[c.Key] = c.MaybeValue()
	}
	require.Equal(t, "compact", shown["cleanup.policy"])
	require.Equal(t, "604800000", shown["retention.ms"])
	require.Equal(t, "LogAppendTime", shown["message.timestamp.type"])
	require.Equal(t, "2000000", shown["max.message.bytes"])

	again, err := admin.CreateTopics(t.Context(), 6, -1, nil, "tasks.settings")
	require.NoError(t, err)
	require.Error(t, again.Error(), "a topic that exists is told apart")

	replicated, err := admin.CreateTopics(t.Context(), 6, 3, nil, "tasks.three")
	require.NoError(t, err)
	require.Error(t, replicated.Error(), "there is one broker")
}

func TestOffsetsByTimeAndByGroup(t *testing.T) {
	servers := start(t, embedded.Options{})
	client := kafka(t, servers)
	admin := kadm.NewClient(client)
	_, err := admin.CreateTopics(t.Context(), 1, -1, nil, "tasks.results")
	require.NoError(t, err)
	for i := range 3 {
		record := &kgo.Record{Topic: "tasks.results", Value: []byte{byte(i)}, Timestamp: time.UnixMilli(int64(1000 * (i + 1)))}
		require.NoError(t, client.ProduceSync(t.Context(), record).FirstErr())
	}
	offsets, err := admin.ListOffsetsAfterMilli(t.Context(), 1500, "tasks.results")
	require.NoError(t, err)
	require.Equal(t, int64(1), offsets["tasks.results"][0].Offset)

	commit := kadm.Offsets{}
	commit.AddOffset("tasks.results", 0, 2, -1)
	require.NoError(t, admin.CommitAllOffsets(t.Context(), "offline-nodes.merge", commit))
	committed, err := admin.FetchOffsets(t.Context(), "offline-nodes.merge")
	require.NoError(t, err)
	require.Equal(t, int64(2), committed["tasks.results"][0].At)
}

// stamp publishes a record that its client dates back an hour, and returns the
// time that consumers see.
func stamp(t testing.TB, servers *embedded.Servers, topic, timestampType string, options ...kgo.Opt) time.Time {
	t.Helper()
	options = append(options, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	client := kafka(t, servers, options...)
	created, err := kadm.NewClient(client).CreateTopics(t.Context(), 1, -1, map[string]*string{"message.timestamp.type": &timestampType}, topic)
	require.NoError(t, err)
	require.NoError(t, created.Error())
	var sent []*kgo.Record
	for i := range 5 {
		sent = append(sent, &kgo.Record{
			Topic: topic, Key: []byte("k"), Value: bytes.Repeat([]byte{byte(i)}, 1000),
			Headers:   []kgo.RecordHeader{{Key: "h", Value: []byte("v")}},
			Timestamp: time.Now().Add(time.Duration(i-5) * time.Hour),
		})
	}
	require.NoError(t, client.ProduceSync(t.Context(), sent...).FirstErr())
	var got []*kgo.Record
	for len(got) < len(sent) {
		fetches := client.PollFetches(t.Context())
		require.NoError(t, fetches.Err())
		got = append(got, fetches.Records()...)
	}
	for i, r := range got {
		require.Equal(t, sent[i].Value, r.Value)
		require.Equal(t, sent[i].Headers, r.Headers)
		require.Equal(t, int64(i), r.Offset)
		if timestampType == "LogAppendTime" {
			require.WithinDuration(t, time.Now(), r.Timestamp, time.Minute)
		}
	}
	return got[0].Timestamp
}

func TestLogAppendTimeIsTheBrokers(t *testing.T) {
	servers := start(t, embedded.Options{})
	before := time.Now().Add(-time.Second)
	require.True(t, stamp(t, servers, "appended", "LogAppendTime").After(before))
	none := kgo.ProducerBatchCompression(kgo.NoCompression())
	require.True(t, stamp(t, servers, "uncompressed", "LogAppendTime", none).After(before))
	require.True(t, stamp(t, servers, "created", "CreateTime").Before(before))
}

func TestKeysExpireByTheClock(t *testing.T) {
	servers := start(t, embedded.Options{})
	client := connect(t, servers)
	require.NoError(t, client.Set(t.Context(), "lease", "x", 10*time.Millisecond).Err())
	require.Eventually(t, func() bool {
		return errors.Is(client.Get(t.Context(), "lease").Err(), redis.Nil)
	}, time.Minute, 5*time.Millisecond)
}

func TestRedisTellsWhatTheClaimsAsk(t *testing.T) {
	first := connect(t, start(t, embedded.Options{}))
	memory, err := first.Info(t.Context(), "memory").Result()
	require.NoError(t, err)
	require.Contains(t, memory, "maxmemory_policy:noeviction")

	inScript := `return redis.call('INFO', 'server')`
	one, err := first.Eval(t.Context(), inScript, nil).Text()
	require.NoError(t, err)
	require.Regexp(t, `run_id:[0-9a-f]{40}`, one)
	repeated, err := first.Eval(t.Context(), inScript, nil).Text()
	require.NoError(t, err)
	require.Equal(t, one, repeated)

	other, err := connect(t, start(t, embedded.Options{})).Eval(t.Context(), inScript, nil).Text()
	require.NoError(t, err)
	require.NotEqual(t, one, other, "a new server is known by its run id")

	all, err := first.Info(t.Context()).Result()
	require.NoError(t, err)
	require.Contains(t, all, "aof_enabled:0")
	clients, err := first.Info(t.Context(), "clients").Result()
	require.NoError(t, err)
	require.Contains(t, clients, "connected_clients")
	require.Error(t, first.Info(t.Context(), "weather").Err())
}

// What the queue must bear from this broker although Kafka does better. When
// one of these fails, kfake has caught up.
func TestKnownDifferences(t *testing.T) {
	servers := start(t, embedded.Options{})
	admin := kadm.NewClient(kafka(t, servers))
	_, err := admin.FetchOffsets(t.Context(), "never-seen")
	require.ErrorIs(t, err, kerr.GroupIDNotFound, "Kafka answers that there are no offsets")
}

func TestAFolderKeepsTopicsRecordsAndOffsets(t *testing.T) {
	dir := t.TempDir()
	first, err := embedded.Start(t.Context(), embedded.Options{DataDir: dir, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	admin := kadm.NewClient(kafka(t, first))
	_, err = admin.CreateTopics(t.Context(), 1, -1, map[string]*string{"retention.ms": new("86400000")}, "tasks.merge")
	require.NoError(t, err)
	require.NoError(t, kafka(t, first).ProduceSync(t.Context(), &kgo.Record{Topic: "tasks.merge", Value: []byte("kept")}).FirstErr())
	commit := kadm.Offsets{}
	commit.AddOffset("tasks.merge", 0, 1, -1)
	require.NoError(t, admin.CommitAllOffsets(t.Context(), "g", commit))
	first.Stop()

	second := start(t, embedded.Options{DataDir: dir})
	client := kafka(t, second, kgo.ConsumeTopics("tasks.merge"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	fetches := client.PollFetches(t.Context())
	require.NoError(t, fetches.Err())
	require.Equal(t, "kept", string(fetches.Records()[0].Value))
	committed, err := kadm.NewClient(client).FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.Equal(t, int64(1), committed["tasks.merge"][0].At)
}

func TestAddresses(t *testing.T) {
	servers := start(t, embedded.Options{})
	require.Equal(t, []string{"OFFLINE_KAFKA__BROKERS=" + servers.Addresses.Kafka, "OFFLINE_REDIS__ADDRS=" + servers.Addresses.Redis}, servers.Addresses.Environ())

	for _, options := range []embedded.Options{
		{KafkaAddr: servers.Addresses.Kafka},
		{RedisAddr: servers.Addresses.Redis},
		{KafkaAddr: "0.0.0.0:0"},
		{KafkaAddr: ":0"},
		{RedisAddr: "[::]:0"},
		{KafkaAddr: "localhost"},
	} {
		_, err := embedded.Start(t.Context(), options)
		require.Error(t, err, "%+v", options)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := embedded.Start(ended, embedded.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestStopFreesThePortsAndCutsConnections(t *testing.T) {
	servers, err := embedded.Start(t.Context(), embedded.Options{})
	require.NoError(t, err)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", servers.Addresses.Redis)
	require.NoError(t, err)
	defer conn.Close()
	servers.Stop()
	servers.Stop()
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)

	again := start(t, embedded.Options{KafkaAddr: servers.Addresses.Kafka, RedisAddr: servers.Addresses.Redis})
	require.Equal(t, servers.Addresses, again.Addresses)
	require.NoError(t, connect(t, again).Ping(t.Context()).Err())
	require.NoError(t, kafka(t, again).Ping(t.Context()))
}

func TestRunWritesTheReadyFileWhileItRuns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready.json")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- embedded.Run(ctx, embedded.Options{}, file) }()

	addresses, err := embedded.Await(t.Context(), file)
	require.NoError(t, err)
	client := redis.NewClient(&redis.Options{Addr: addresses.Redis})
	require.NoError(t, client.Ping(t.Context()).Err())
	require.NoError(t, client.Close())

	cancel()
	require.NoError(t, <-ended)
	require.NoFileExists(t, file)
}

func TestRunTellsWhatIsWrong(t *testing.T) {
	require.Error(t, embedded.Run(t.Context(), embedded.Options{KafkaAddr: "x"}, ""))
	require.ErrorContains(t, embedded.Run(t.Context(), embedded.Options{}, "/no/such/folder/ready"), "ready file")
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the process ended"))
	_, err := embedded.Await(ctx, filepath.Join(t.TempDir(), "never"))
	require.ErrorContains(t, err, "the process ended")

	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(broken, []byte("{"), 0o600))
	_, err = embedded.Await(t.Context(), broken)
	require.Error(t, err)
}
