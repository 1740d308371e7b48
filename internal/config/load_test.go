package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

// file writes a settings file and returns its path.
func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// flags parses arguments with the flags of every program.
func flags(t testing.TB, args ...string) *pflag.FlagSet {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(set)
	set.Bool("wait", false, "a flag of the program's own")
	require.NoError(t, set.Parse(args))
	return set
}

func load(t testing.TB, from config.Sources) *config.Settings {
	t.Helper()
	if from.Environ == nil {
		from.Environ = []string{}
	}
	settings, err := config.Load(from)
	require.NoError(t, err)
	return settings
}

func dump(t testing.TB, settings *config.Settings) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, settings.Dump(&b))
	return b.String()
}

func TestNothingSetIsTheDefaults(t *testing.T) {
	settings := load(t, config.Sources{Flags: flags(t)})
	require.Equal(t, dump(t, config.Defaults()), dump(t, settings))
	require.Equal(t, config.Defaults().Kafka, settings.Kafka)
	require.Equal(t, config.Defaults().Redis, settings.Redis)
}

func TestTheSampleHoldsEveryKeyAtItsDefault(t *testing.T) {
	sample, err := os.ReadFile("../../config.sample.yml")
	require.NoError(t, err)
	settings := load(t, config.Sources{File: "../../config.sample.yml"})

	require.Equal(t, config.Defaults().Kafka, settings.Kafka)
	require.Equal(t, config.Defaults().Redis, settings.Redis)
	require.Equal(t, config.Defaults().Store, settings.Store)
	require.Equal(t, config.Defaults().Node, settings.Node)
	require.Equal(t, config.Defaults().Types, settings.Types)
	require.Equal(t, config.Defaults().DataNode, settings.DataNode)
	require.Equal(t, config.Defaults().Admin, settings.Admin)
	require.Equal(t, config.Defaults().Log, settings.Log)
	require.Equal(t, config.Defaults().Telemetry, settings.Telemetry)
	for _, key := range config.Keys() {
		require.True(t, settings.SetBySource(key), "the sample lacks %s", key)
	}
	require.Contains(t, string(sample), "OFFLINE_KAFKA__BROKERS")
}

func TestTheExampleOfTypesInTheSampleLoads(t *testing.T) {
	settings := load(t, config.Sources{File: file(t, exampleOfTypes(t))})
	require.Equal(t, 2, *settings.Types["merge"].Slots)
	require.Equal(t, 10*time.Minute, *settings.Types["merge"].Stall)
	require.InDelta(t, 0.5, *settings.Types["merge"].Retry.Jitter, 0)
}

func TestLaterSourcesWin(t *testing.T) {
	from := config.Sources{
		File: file(t, `
kafka:
  brokers: [file:1, file:2, file:3]
  client_id: file
redis:
  lease: 30s
  addrs: "file:4"
`),
		Environ: []string{"OFFLINE_KAFKA__BROKERS=env:1, env:2", "OFFLINE_REDIS__ADDRS=env:3", "HOME=/root"},
		Flags:   flags(t, "--redis.addrs=flag:1", "--kafka.server_side_balancer", "--kafka.delays=1s,2s", "--wait"),
	}
	settings := load(t, from)
	require.Equal(t, []string{"env:1", "env:2"}, settings.Kafka.Brokers)
	require.Equal(t, "file", settings.Kafka.ClientID)
	require.Equal(t, 30*time.Second, settings.Redis.Lease)
	require.Equal(t, []string{"flag:1"}, settings.Redis.Addrs)
	require.True(t, settings.Kafka.ServerSideBalancer)
	require.Equal(t, []time.Duration{time.Second, 2 * time.Second}, settings.Kafka.Delays)
	require.Equal(t, 5*time.Second, settings.Redis.Beat, "unset flags change nothing")
}

func TestEveryKindOfValue(t *testing.T) {
	settings := load(t, config.Sources{File: file(t, `
kafka:
  window: {records: 1000, bytes: 1.5GiB}
  topics: {replication: 3, min_insync_replicas: 2, task_retention: 30d, partitions: 12}
  session_timeout: 1d12h
telemetry: {sampling: 0.25}
data_node:
  shards: [a, b]
  offline: {merge: off}
types:
  image.resize: {slots: 4, retry: {jitter: 0}}
node:
`)})
	require.Equal(t, config.Bytes(3<<29), settings.Kafka.Window.Bytes)
	require.Equal(t, int16(3), settings.Kafka.Topics.Replication)
	require.Equal(t, 30*24*time.Hour, settings.Kafka.Topics.TaskRetention)
	require.Equal(t, 36*time.Hour, settings.Kafka.SessionTimeout)
	require.InDelta(t, 0.25, settings.Telemetry.Sampling, 0)
	require.Equal(t, []string{"a", "b"}, settings.DataNode.Shards)
	require.Equal(t, "off", settings.DataNode.Offline.Merge)
	require.Equal(t, 4, *settings.Types["image.resize"].Slots)
	require.InDelta(t, 0, *settings.Types["image.resize"].Retry.Jitter, 0)
	require.Nil(t, settings.Types["image.resize"].Retry.Factor)
	require.Equal(t, config.Defaults().Node, settings.Node, "a section of comments alone is no change")
}

func TestTypesByTheEnvironment(t *testing.T) {
	settings := load(t, config.Sources{
		File:    file(t, "types: {merge: {slots: 2, stall: 1m}}"),
		Environ: []string{"OFFLINE_TYPES__MERGE__SLOTS=3", "OFFLINE_TYPES__SNAPSHOT__RETRY__MAX_ATTEMPTS=9"},
	})
	require.Equal(t, 3, *settings.Types["merge"].Slots)
	require.Equal(t, time.Minute, *settings.Types["merge"].Stall)
	require.Equal(t, 9, *settings.Types["snapshot"].Retry.MaxAttempts)
}

func TestTheFileIsFound(t *testing.T) {
	byFlag, byVariable := file(t, "log: {level: debug}"), file(t, "log: {level: error}")
	from := config.Sources{Environ: []string{"OFFLINE_CONFIG=" + byVariable}}
	require.Equal(t, "error", load(t, from).Log.Level)

	from.Flags = flags(t, "--config", byFlag)
	require.Equal(t, "debug", load(t, from).Log.Level)

	from.File = byVariable
	require.Equal(t, "error", load(t, from).Log.Level)
}

func TestVariablesThatAreNoSettingsAreLeftAlone(t *testing.T) {
	load(t, config.Sources{Environ: []string{
		"OFFLINE_TEST_KAFKA=127.0.0.1:9092",
		"OFFLINE_NODE_SERVICE_HOST=10.0.0.1", "OFFLINE_NODE_SERVICE_PORT=9464", "OFFLINE_NODE_SERVICE_PORT_HTTP_ADMIN=9464",
		"OFFLINE_NODE_PORT=tcp://10.0.0.1:9464", "OFFLINE_NODE_PORT_9464_TCP=tcp://10.0.0.1:9464",
		"OFFLINE_NODE_PORT_9464_TCP_PROTO=tcp", "OFFLINE_NODE_PORT_9464_TCP_ADDR=10.0.0.1",
	}})
}

func TestADumpLoadsAgain(t *testing.T) {
	first := load(t, config.Sources{
		File:    file(t, "types: {image.resize: {slots: 4}}\nkafka: {client_id: '0123', prefix: 'true'}"),
		Environ: []string{"OFFLINE_REDIS__LEASE=1m", "OFFLINE_NODE__TYPES=a,b"},
	})
	text := dump(t, first)
	require.Contains(t, text, "lease: 1m # OFFLINE_REDIS__LEASE")
	require.Contains(t, text, "config.yml line 2")

	second := load(t, config.Sources{File: file(t, text)})
	require.Equal(t, first.Kafka, second.Kafka)
	require.Equal(t, first.Redis, second.Redis)
	require.Equal(t, first.Node, second.Node)
	require.Equal(t, first.Types, second.Types)
}
