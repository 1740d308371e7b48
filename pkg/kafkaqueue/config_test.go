package kafkaqueue

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigReportsEveryMistakeAtOnce(t *testing.T) {
	require.NoError(t, Config{Brokers: []string{"a:9092"}}.Validate())
	err := Config{
		Prefix: "a b", SASL: SASL{Mechanism: "GSSAPI", Password: "secret"}, SessionTimeout: time.Millisecond,
		WindowRecords: 10, WindowBytes: 10, Tick: time.Minute,
		Topics: Topics{Partitions: -1, Replication: 1, MinInsync: 2, TaskRetention: time.Minute, ResultsRetention: time.Hour, DeadLetterRetention: 1},
		Delays: []time.Duration{time.Minute, time.Second, -1},
	}.Validate()
	for _, part := range []string{
		"no broker", "prefix", "GSSAPI", "username", "session timeout", "10 records", "10 bytes", "tick", "-1 partitions",
		"more than the replication factor", "task retention", "results retention", "dead letter retention", "not ascending", "delay tier of -1ns", "at least twice",
	} {
		require.ErrorContains(t, err, part)
	}
	require.NotContains(t, err.Error(), "secret")
	for _, open := range []func(Config) error{
		func(c Config) error { _, err := OpenAdmin(c); return err },
		func(c Config) error { _, err := NewProducer(c); return err },
		func(c Config) error { _, err := NewConsumer(c, "merge", Hooks{}); return err },
		func(c Config) error { _, err := NewRouter(c, nil); return err },
		func(c Config) error { _, err := NewListener(c, ListenerConfig{Group: "g"}); return err },
		func(c Config) error { _, err := NewSettings(c); return err },
	} {
		require.ErrorContains(t, open(Config{}), "no broker")
	}
	_, err = NewConsumer(Config{Brokers: []string{"a:1"}}, "results", Hooks{})
	require.ErrorContains(t, err, "results")
	_, err = NewListener(Config{Brokers: []string{"a:1"}}, ListenerConfig{Remember: -1})
	require.ErrorContains(t, err, "group")
	require.ErrorContains(t, err, "-1")
}

func TestPasswordsAreNotShown(t *testing.T) {
	c := Config{Brokers: []string{"a"}, SASL: SASL{saslPlain, "user", "secret"}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("opened", "sasl", c.SASL)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c.SASL), fmt.Sprint(&c), log.String()} {
		require.NotContains(t, text, "secret")
		require.Contains(t, text, "user")
	}
}

func TestTopicsAreNamedAsPeopleSayThem(t *testing.T) {
	n := names{"test."}
	require.Equal(t, "test.tasks.merge.again", n.again("merge"))
	for delay, name := range map[time.Duration]string{
		5 * time.Second: "5s", 2 * time.Minute: "2m", 6 * time.Hour: "6h", 90 * time.Minute: "1h30m", 100 * time.Millisecond: "100ms", 90 * time.Second: "1m30s", time.Hour + time.Second: "1h0m1s",
	} {
		require.Equal(t, "test.tasks.retry."+name, n.tier(delay))
	}
	for topic, typ := range map[string]string{"test.tasks.merge": "merge", "test.tasks.merge.again": "merge", "tasks.merge": "", "test.tasks.results": "", "test.tasks.retry.5s": "", "test.tasks.a b": ""} {
		got, ok := n.typeOf(topic)
		require.Equal(t, typ != "", ok, topic)
		if ok {
			require.Equal(t, typ, got)
		}
	}
	for _, topic := range []string{n.again("merge"), n.tier(time.Second), n.results(), n.deadLetter(), n.settings()} {
		require.True(t, n.larger(topic), topic)
	}
	require.False(t, n.larger(n.task("merge")))
	require.False(t, n.larger("elsewhere"))
}

func TestTheLongestTierThatFitsIsTaken(t *testing.T) {
	tiers := newTiers(Config{}.withDefaults())
	now := time.Unix(1000, 0)
	for rest, want := range map[time.Duration]string{
		0: "", -time.Hour: "", 4899 * time.Millisecond: "", 4900 * time.Millisecond: "5s", 5 * time.Second: "5s", 29 * time.Second: "5s",
		29900 * time.Millisecond: "30s", time.Minute: "30s", 119 * time.Second: "30s", 2 * time.Minute: "2m", 9 * time.Minute: "2m",
		time.Hour: "1h", 400 * 24 * time.Hour: "6h",
	} {
		topic, ok := tiers.pick(now.Add(rest), now)
		require.Equal(t, want != "", ok, rest)
		require.Equal(t, want, strings.TrimPrefix(topic, "tasks.retry."), rest)
	}
	_, ok := tiers.pick(time.Time{}, now)
	require.False(t, ok)
}
