package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const (
	saslPlain    = "PLAIN"
	saslScram256 = "SCRAM-SHA-256"
	saslScram512 = "SCRAM-SHA-512"
)

// clientOptions are what every Kafka client here has in common.
func (c Config) clientOptions() []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.SoftwareNameAndVersion("offline-nodes", "1"),
		kgo.WithLogger(kafkaLog{c.Log}),
		kgo.DisableClientMetrics(),
	}
	switch {
	case c.Dialer != nil:
		options = append(options, kgo.Dialer(c.Dialer))
	case c.TLS != nil:
		options = append(options, kgo.DialTLSConfig(c.TLS))
	}
	switch c.SASL.Mechanism {
	case saslPlain:
		options = append(options, kgo.SASL(plain.Auth{User: c.SASL.Username, Pass: c.SASL.Password}.AsMechanism()))
	case saslScram256:
		options = append(options, kgo.SASL(scram.Auth{User: c.SASL.Username, Pass: c.SASL.Password}.AsSha256Mechanism()))
	case saslScram512:
		options = append(options, kgo.SASL(scram.Auth{User: c.SASL.Username, Pass: c.SASL.Password}.AsSha512Mechanism()))
	}
	return options
}

// explain adds to a connection's error what usually is behind it. It never
// shows credentials.
func (c Config) explain(err error) error {
	var first *kgo.ErrFirstReadEOF
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return fmt.Errorf("%w (user %q: check the password and the mechanism %s)", err, c.SASL.Username, c.SASL.Mechanism)
	case c.SASL.Mechanism != "" && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)) && !errors.As(err, &first):
		return fmt.Errorf("%w (the broker hung up: with SASL that often is a wrong password of user %q, or a listener of another kind)", err, c.SASL.Username)
	case c.SASL.Mechanism != "" && errors.As(err, &first):
		return fmt.Errorf("%w (or a wrong password of user %q: some brokers only hang up)", err, c.SASL.Username)
	}
	return err
}

// kafkaLog passes the Kafka client's own warnings on.
type kafkaLog struct{ log *slog.Logger }

func (l kafkaLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (l kafkaLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelWarn
	if level == kgo.LogLevelError {
		at = slog.LevelError
	}
	l.log.Log(context.Background(), at, "kafka client", append([]any{"message", msg}, keyvals...)...)
}

// lastError remembers what went wrong last with the brokers, so that "no
// answer in time" can say more than that.
type lastError struct {
	mu  sync.Mutex
	err error
}

var (
	_ kgo.HookBrokerConnect = (*lastError)(nil)
	_ kgo.HookBrokerE2E     = (*lastError)(nil)
)

// OnBrokerConnect is a hook of the Kafka client.
func (l *lastError) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	l.set(meta, err)
}

// OnBrokerE2E is a hook of the Kafka client.
func (l *lastError) OnBrokerE2E(meta kgo.BrokerMetadata, _ int16, e2e kgo.BrokerE2E) {
	l.set(meta, e2e.Err())
}

func (l *lastError) set(meta kgo.BrokerMetadata, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	if err != nil && !strings.Contains(err.Error(), meta.Host) {
		err = fmt.Errorf("broker %s:%d: %w", meta.Host, meta.Port, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *lastError) get() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// complaints keeps warnings that repeat to one a minute each.
type complaints struct {
	mu   sync.Mutex
	said map[string]time.Time
}

const (
	sayAgain    = time.Minute
	maxRemarked = 256 // texts that are remembered
)

// fresh tells whether err, about these things, is worth a line now.
func (c *complaints) fresh(err error, about ...any) bool {
	return c.freshAt(fmt.Sprint(err, about), time.Now())
}

func (c *complaints) freshAt(words string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.said[words]; ok && now.Sub(at) < sayAgain {
		return false
	}
	if c.said == nil || len(c.said) >= maxRemarked {
		c.said = map[string]time.Time{}
	}
	c.said[words] = now
	return true
}
