package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

// refused loads settings that have mistakes.
func refused(t testing.TB, from config.Sources) *config.Error {
	t.Helper()
	if from.Environ == nil {
		from.Environ = []string{}
	}
	settings, err := config.Load(from)
	require.Nil(t, settings)
	var all *config.Error
	require.ErrorAs(t, err, &all)
	return all
}

func TestARepositoryIsAnotherStore(t *testing.T) {
	load(t, config.Sources{Environ: []string{"OFFLINE_STORE__URL=file:///a", "OFFLINE_REPOSITORY__URL=file:///b"}})
	err := refused(t, config.Sources{Environ: []string{"OFFLINE_STORE__URL=file:///a", "OFFLINE_REPOSITORY__URL=file:///a"}})
	require.ErrorContains(t, err, "full snapshots belong into another store")
}

func TestEveryMistakeIsToldAtOnce(t *testing.T) {
	path := file(t, `
kafka:
  brokerss: [a:1]
  session_timeout: 10
redis:
  lease: 10s
quueue: {}
log: {level: infos}
`)
	err := refused(t, config.Sources{
		File:    path,
		Environ: []string{"OFFLINE_KAFKA__BROKER=a:1", "OFFLINE_REDIS_LEASE=1m", "OFFLINE_NODE__GRACE=soon"},
		Flags:   flags(t, "--kafka.topics.replication=70000", "--redis.db=-1"),
	})
	require.Equal(t, `11 mistakes in the settings:
  kafka.broker (OFFLINE_KAFKA__BROKER): no such setting: did you mean kafka.brokers?
  kafka.brokerss (`+path+` line 3): no such setting: did you mean kafka.brokers?
  kafka.session_timeout = 10 (`+path+` line 4): a duration needs a unit: write 10s, 10m, 10h or 10d
  kafka.topics.replication = "70000" (--kafka.topics.replication): the number is too large: at most 32767
  log.level = "infos" (`+path+` line 8): write one of debug, info, warn, error: did you mean info?
  node.grace = "soon" (OFFLINE_NODE__GRACE): write a duration such as 500ms, 15s, 1h30m or 7d
  quueue (`+path+` line 7): no such setting: there are kafka, redis, store, repository, node, types, data_node, admin, log, telemetry
  redis.db = -1 (--redis.db): must be 0 or more, and 0 with a cluster
  redis.lease = 10s (`+path+` line 6): must be three times redis.beat (5s) or more, so that one lost beat loses no claim
  redis.trust = 10s: must lie between redis.beat (5s) and redis.lease (10s)
  redis_lease (OFFLINE_REDIS_LEASE): no such setting: did you mean redis.lease (OFFLINE_REDIS__LEASE)?`, err.Error())
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"Kafka: {brokers: [a:1]}":                                   "did you mean kafka?",
		"kafka: {Brokers: [a:1]}":                                   "did you mean kafka.brokers?",
		"kafka: {brokers: []}":                                      "name one broker",
		"kafka: {brokers: [localhost]}":                             `"localhost" is not host:port`,
		"kafka: {brokers: ['http://a:1']}":                          "is not host:port",
		"kafka: {brokers: [a:99999]}":                               "is not host:port",
		"kafka: {brokers: {a: 1}}":                                  "kafka.brokers",
		"kafka: {brokers: [[a]]}":                                   "entry 1: write one text",
		"kafka: {client_id: 0123}":                                  "put the text in quotes",
		"kafka: {client_id: }":                                      "has no value",
		"kafka: 7":                                                  "is a section",
		"kafka: {prefix: a/b}":                                      "letters, digits",
		"kafka: {lease: 5s}":                                        "did you mean redis.lease (OFFLINE_REDIS__LEASE)?",
		"kafka: {window: {records: many}}":                          "whole number",
		"kafka: {window: {records: 0}}":                             "512 or more",
		"kafka: {window: {bytes: 1 furlong}}":                       "write a size",
		"kafka: {window: {bytes: -1MiB}}":                           "write a size",
		"kafka: {window: {bytes: 1KiB}}":                            "1MiB or more",
		"kafka: {delays: [5s, 5s]}":                                 "must rise",
		"kafka: {delays: [1m, 5s]}":                                 "must rise",
		"kafka: {delays: []}":                                       "one delay",
		"kafka: {session_timeout: -3s}":                             "write a duration",
		"kafka: {session_timeout: 99999999d}":                       "write a duration",
		"kafka: {server_side_balancer: yes}":                        "true or false",
		"kafka: {topics: {replication: 0}}":                         "must be 1 or more, or -1",
		"kafka: {topics: {replication: 1, min_insync_replicas: 2}}": "nothing could be written",
		"kafka: {topics: {results_retention: 1d}}":                  "7d or more",
		"kafka: {sasl: {mechanism: plain}}":                         "did you mean PLAIN?",
		"kafka: {sasl: {mechanism: PLAIN}}":                         "needs kafka.sasl.username",
		"kafka: {sasl: {username: a, password: b}}":                 "is empty although",
		"kafka: {tls: {ca_file: /ca.pem}}":                          "set it to true",
		"kafka: {tls: {enabled: true, cert_file: /a}}":              "set both or none",
		"kafka: {tls: {enabled: true, ca_file: /no/such/file}}":     "cannot be read",
		"redis: {addrs: [a:1, b:1]}":                                "has several servers",
		"redis: {cluster: true, db: 1}":                             "0 with a cluster",
		"redis: {cluster: true, master_name: m}":                    "watch no cluster",
		"redis: {prefix: '{x}'}":                                    "no braces",
		"redis: {username: u}":                                      "needs redis.password",
		"redis: {sentinel_password: p}":                             "is empty although",
		"redis: {trust: 15s}":                                       "must lie between",
		"redis: {beat: 0}":                                          "10ms or more",
		"redis: {password_file: /no/such/file}":                     "cannot be read",
		"store: {url: /var/lib}":                                    "scheme",
		"store: {url: 'file://var/lib'}":                            "file:///absolute/path",
		"store: {url: 's3:///x'}":                                   "bucket is missing",
		"store: {url: 's3://b?regoin=x'}":                           "regoin",
		"store: {url: 'file:///x?region=x'}":                        "takes no parameters",
		"store: {session_token: t}":                                 "is empty although",
		"node: {grace: 0}":                                          "1s or more",
		"redis: {prefix: ''}":                                       "must not be empty",
		"kafka: {delays: [8d]}":                                     "half of kafka.topics.task_retention (14d)",
		"store: {access_key: a}":                                    "set both or none",
		"node: {types: [retry.x]}":                                  "name of a topic",
		"node: {types: [a b]}":                                      "has the byte",
		"types: {A: {slots: 1}}":                                    "lower-case",
		"types: {merge: {slots: 0}}":                                "types.merge.slots",
		"types: {merge: {slot: 1}}":                                 "did you mean types.merge.slots?",
		"types: {merge: 4}":                                         "is a section",
		"types: {merge: {retry: {jitter: 2}}}":                      "between 0 and 1",
		"types: {merge: {retry: {factor: 0.5}}}":                    "1 or more",
		"types: {merge: {retry: {initial: 1h, max: 1m}}}":           "must not be longer",
		"data_node: {offline: {merge: sometimes}}":                  "off, auto, always",
		"data_node: {offline: {min_bytes: 0}}":                      "write 1 to send all merges",
		"data_node: {refresh: 0}":                                   "above 0",
		"data_node: {shards: [a, a]}":                               "twice",
		"admin: {listen: '9464'}":                                   "is not host:port",
		"telemetry: {sampling: 1.5}":                                "between 0 and 1",
		"telemetry: {sampling: .nan}":                               "write a number",
		"telemetry: {otlp_endpoint: 'collector:4317'}":              "must be a URL",
		"just text":            "write sections",
		"a: b: c":              "is no YAML",
		"kafka: {}\nkafka: {}": "already defined",
	} {
		t.Run(text, func(t *testing.T) {
			require.ErrorContains(t, refused(t, config.Sources{File: file(t, text)}), want)
		})
	}
}

func TestAFileThatIsNotThere(t *testing.T) {
	require.ErrorContains(t, refused(t, config.Sources{File: "/no/such/file.yml"}), "cannot be read")
	require.ErrorContains(t, refused(t, config.Sources{File: t.TempDir()}), "is a folder")

	large := filepath.Join(t.TempDir(), "large.yml")
	require.NoError(t, os.WriteFile(large, make([]byte, 1<<20+1), 0o600))
	require.ErrorContains(t, refused(t, config.Sources{File: large}), "at most 1048576")
}
