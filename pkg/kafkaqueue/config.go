package kafkaqueue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Config is what every part of this package is opened with. The zero value of
// a field is its default; only Brokers has none.
type Config struct {
	// Brokers are host:port addresses to start from; one that answers is enough.
	Brokers []string
	// TLS switches TLS on; with certificates in it, mutual TLS.
	TLS *tls.Config
	// SASL authenticates the client; none when its Mechanism is empty.
	SASL SASL
	// Prefix stands before the names of all topics and groups.
	Prefix string
	// ClientID names this process to the brokers, for their logs and quotas.
	ClientID string
	// Dialer replaces the network, for tests. TLS is not applied to it.
	Dialer func(ctx context.Context, network, host string) (net.Conn, error)

	// SessionTimeout is how long a group waits for a member that does not
	// answer before others get its partitions. Default 10 s.
	SessionTimeout time.Duration
	// ServerSideBalancer lets the brokers assign partitions (KIP-848). It wants
	// brokers of 4.3 or later, whose own session timeout (45 s as shipped) then
	// replaces SessionTimeout.
	ServerSideBalancer bool

	// FetchWait is how long a broker may hold a fetch for which it has no
	// records. Shorter costs requests of idle nodes; longer lets a partition whose
	// window was full wait behind the others' empty fetch. Default 1 s.
	FetchWait time.Duration

	// WindowRecords bounds the records per partition between the watermark and
	// the position, finished ones included. Default 4096.
	WindowRecords int
	// WindowBytes bounds their bytes; the last poll may exceed it. Default 32 MiB.
	WindowBytes int

	// Topics is how topics are created, and what Check compares them with.
	Topics Topics
	// Delays are those of the delay tiers, ascending, each a topic of its own.
	// All processes of one prefix need the same. Default 5s 30s 2m 10m 1h 6h.
	Delays []time.Duration
	// Tick is how late a due task may leave the tiers. Default 100 ms.
	Tick time.Duration

	Log   *slog.Logger // default: discard
	Meter metric.Meter // default: none
}

// SASL is how a client says who it is. Its String hides the password.
type SASL struct {
	Mechanism string // "", PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	Username  string
	Password  string
}

// String never shows the password.
func (s SASL) String() string { return fmt.Sprintf("{%s %s}", s.Mechanism, s.Username) }

// GoString never shows the password.
func (s SASL) GoString() string { return s.String() }

// LogValue never shows the password.
func (s SASL) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Topics is how topics are created.
type Topics struct {
	Partitions  int32 // of each task, return, tier, results and dead-letter topic; default 6
	Replication int16 // default -1: the broker's own
	MinInsync   int   // min.insync.replicas; default 0: the broker's own
	// TaskRetention is how long a task may wait unconsumed. Default 14 days.
	TaskRetention time.Duration
	// ResultsRetention is how long outcomes can be read back. Default and
	// minimum 7 days.
	ResultsRetention time.Duration
	// DeadLetterRetention is how long a dead letter can be redriven. Default 30 days.
	DeadLetterRetention time.Duration
}

const (
	day           = 24 * time.Hour
	maxPoll       = 512 // records of one poll, so that a window is never exceeded
	minResultsAge = 7 * day
)

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	orDuration := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	orDuration(&c.SessionTimeout, 10*time.Second)
	orDuration(&c.FetchWait, time.Second)
	orDuration(&c.Tick, 100*time.Millisecond)
	orDuration(&c.Topics.TaskRetention, 14*day)
	orDuration(&c.Topics.ResultsRetention, minResultsAge)
	orDuration(&c.Topics.DeadLetterRetention, 30*day)
	if c.ClientID == "" {
		c.ClientID = "offline-nodes"
	}
	if c.WindowRecords == 0 {
		c.WindowRecords = 4096
	}
	if c.WindowBytes == 0 {
		c.WindowBytes = 32 << 20
	}
	if c.Topics.Partitions == 0 {
		c.Topics.Partitions = 6
	}
	if c.Topics.Replication == 0 {
		c.Topics.Replication = -1
	}
	if c.Delays == nil {
		c.Delays = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Meter == nil {
		c.Meter = noop.Meter{}
	}
	return c
}

// Validate reports every mistake at once; defaults are filled in first.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("kafka: "+format, args...))
		}
	}
	check(len(c.Brokers) > 0, "no broker: name one host:port at least")
	check(!slices.Contains(c.Brokers, ""), "an empty broker address")
	check(validTopicPart(c.Prefix), "prefix %q: use letters, digits and . _ -", c.Prefix)
	check(slices.Contains([]string{"", saslPlain, saslScram256, saslScram512}, c.SASL.Mechanism),
		"SASL mechanism %q: use %s, %s or %s", c.SASL.Mechanism, saslPlain, saslScram256, saslScram512)
	check(c.SASL.Mechanism == "" || c.SASL.Username != "" && c.SASL.Password != "", "SASL needs a username and a password")
	check(c.SASL.Mechanism != "" || c.SASL.Username == "", "a SASL username without a mechanism")
	check(c.SessionTimeout >= time.Second, "session timeout %s: at least 1s", c.SessionTimeout)
	check(c.FetchWait >= 10*time.Millisecond && c.FetchWait <= 30*time.Second, "fetch wait %s: from 10ms to 30s", c.FetchWait)
	check(c.WindowRecords >= maxPoll, "window of %d records: at least %d", c.WindowRecords, maxPoll)
	check(c.WindowBytes >= 1<<20, "window of %d bytes: at least 1 MiB", c.WindowBytes)
	check(c.Tick > 0 && c.Tick <= time.Second, "tick %s: more than 0, at most 1s", c.Tick)
	check(c.Topics.Partitions > 0, "%d partitions", c.Topics.Partitions)
	check(c.Topics.Replication > 0 || c.Topics.Replication == -1, "replication factor %d: 1 or more, or -1 for the broker's own", c.Topics.Replication)
	check(c.Topics.MinInsync >= 0, "min.insync.replicas %d", c.Topics.MinInsync)
	check(c.Topics.Replication < 0 || c.Topics.MinInsync <= int(c.Topics.Replication),
		"min.insync.replicas %d is more than the replication factor %d", c.Topics.MinInsync, c.Topics.Replication)
	check(c.Topics.TaskRetention >= time.Hour, "task retention %s: at least 1h", c.Topics.TaskRetention)
	check(c.Topics.ResultsRetention >= minResultsAge, "results retention %s: at least 7 days, outcomes are read back from there", c.Topics.ResultsRetention)
	check(c.Topics.DeadLetterRetention >= time.Hour, "dead letter retention %s: at least 1h", c.Topics.DeadLetterRetention)
	check(len(c.Delays) > 0, "no delay tier")
	for i, d := range c.Delays {
		check(d > 0, "delay tier of %s", d)
		check(i == 0 || d > c.Delays[i-1], "delay tiers are not ascending: %s after %s", d, c.Delays[max(i, 1)-1])
		check(d < c.Topics.TaskRetention/2, "delay tier of %s in topics that keep records for %s: at least twice as long", d, c.Topics.TaskRetention)
	}
	return errors.Join(errs...)
}
