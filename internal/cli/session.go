package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
)

// answerTime is how long a server may take to answer at the start.
const answerTime = 10 * time.Second

// AddSettings gives a program and its subcommands the flags of the settings.
// Help shows those of the sections named.
func AddSettings(root *cobra.Command, sections ...string) {
	set := root.PersistentFlags()
	config.AddFlags(set)
	set.VisitAll(func(f *pflag.Flag) {
		section, _, found := strings.Cut(f.Name, ".")
		f.Hidden = f.Hidden || found && !slices.Contains(sections, section)
	})
	set.Lookup("log.level").DefValue = "warn" // see newLog
}

// Session is what one command works with. It connects when it is asked to.
type Session struct {
	*IO
	Settings *config.Settings
	Kafka    kafkaqueue.Config
	Claims   claims.Config

	client *client.Client
}

// Open reads the settings of a command. Close ends what it connects.
func (std *IO) Open(cmd *cobra.Command) (*Session, error) {
	settings, err := config.Load(config.Sources{Flags: cmd.Flags(), Environ: std.Environ})
	if err != nil {
		return nil, err
	}
	s := &Session{IO: std, Settings: settings}
	var kafkaErr, redisErr error
	s.Kafka, kafkaErr = settings.Kafka.Config()
	s.Claims, redisErr = settings.Redis.Config()
	if err := errors.Join(kafkaErr, redisErr); err != nil {
		return nil, err
	}
	log := newLog(std.Err, settings.Log, cmd.Flags().Changed("log.level"))
	s.Kafka.Log, s.Claims.Log = log, log
	s.Kafka.Dialer, s.Claims.Dialer = std.KafkaDialer, std.RedisDialer
	return s, nil
}

// Given are the flags of settings that the command line has: another program
// needs them, too, to find the same servers.
func Given(cmd *cobra.Command) string {
	var b strings.Builder
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name == "config" || strings.HasPrefix(f.Name, "kafka.") || strings.HasPrefix(f.Name, "redis.") {
			fmt.Fprintf(&b, " --%s=%s", f.Name, quoted(f.Value.String()))
		}
	})
	return b.String()
}

// quoted is an argument as a shell takes it.
func quoted(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-:/,@%+=", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// Client connects to Redis, and to Kafka when something is published. The
// session closes it.
func (s *Session) Client(ctx context.Context) (*client.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	c, err := client.Open(ctx, client.Config{Kafka: s.Kafka, Claims: s.Claims, Log: s.Claims.Log})
	if err != nil {
		return nil, s.redisTrouble(err)
	}
	s.client = c
	return c, nil
}

// Ping makes sure that Kafka answers, so that what fails later was reached.
func (s *Session) Ping(ctx context.Context) error {
	admin, err := kafkaqueue.OpenAdmin(s.Kafka)
	if err != nil {
		return err
	}
	defer admin.Close()
	limited, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := admin.Ping(limited); err != nil && ctx.Err() == nil {
		return &awayError{
			what: "Kafka does not answer at " + strings.Join(s.Kafka.Brokers, ","), err: err,
			advice: "Is it running? Check kafka.brokers (--kafka.brokers, OFFLINE_KAFKA__BROKERS), kafka.tls and kafka.sasl.",
		}
	}
	return ctx.Err()
}

// Close ends the connections. What was published is acknowledged by then, or
// never will be.
func (s *Session) Close(ctx context.Context) {
	if s.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.client.Close(ctx) // every call has had its own answer
	s.client = nil
}

// redisTrouble says what usually helps.
func (s *Session) redisTrouble(err error) error {
	if !errors.Is(err, claims.ErrUnreachable) {
		return err
	}
	return &awayError{
		what: "Redis does not answer at " + strings.Join(s.Claims.Addrs, ","), err: err,
		advice: "Is it running? Check redis.addrs (--redis.addrs, OFFLINE_REDIS__ADDRS), the password and redis.tls.",
	}
}

// awayError is about a server that does not answer.
type awayError struct {
	what   string
	err    error
	advice string
}

func (e *awayError) Error() string { return fmt.Sprintf("%s: %v\n  %s", e.what, e.err, e.advice) }
func (e *awayError) Unwrap() error { return e.err }

// Explain is an error's text with what to do about it.
func Explain(err error) string {
	text := err.Error()
	if errors.Is(err, claims.ErrCold) {
		text += "\n  Redis was emptied, restarted or moved, and the outcomes were not read back yet. A running node does\n" +
			"  that within a minute: start one if there is none (offlinectl nodes), then try again."
	}
	if errors.Is(err, kafkaqueue.ErrNoTopic) {
		text += "\n  No node has made its topics yet, or kafka.prefix is another one: offlinectl topics ensure TYPE makes them."
	}
	return text
}
