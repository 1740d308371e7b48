package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"            //nolint:depguard // the demo removes its own keys, which no store of claims may do
	"github.com/twmb/franz-go/pkg/kadm"       //nolint:depguard // the demo removes its own topics, which no queue may do
	"github.com/twmb/franz-go/pkg/kerr"       //nolint:depguard // as above
	"github.com/twmb/franz-go/pkg/kgo"        //nolint:depguard // as above
	"github.com/twmb/franz-go/pkg/sasl/plain" //nolint:depguard // as above
	"github.com/twmb/franz-go/pkg/sasl/scram" //nolint:depguard // as above

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// sweepTimeout bounds the removal of what is on real servers: groups can go
// when the last member's session has ended.
const sweepTimeout = 30 * time.Second

// sweep removes everything that has the demo's prefix from real servers.
func (p *place) sweep(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepTimeout)
	defer cancel()
	var errs []error
	if o.Kafka != "" {
		errs = append(errs, p.sweepKafka(ctx))
	}
	if o.Redis != "" {
		errs = append(errs, p.sweepRedis(ctx))
	}
	if o.S3 != "" {
		errs = append(errs, p.sweepStore(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what the demo left under %s: %w", p.prefix, err)
	}
	return nil
}

func (p *place) sweepKafka(ctx context.Context) error {
	client, err := kgo.NewClient(p.kafkaOptions()...)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var names []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, p.kafka.Prefix) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		deleted, err := admin.DeleteTopics(ctx, names...)
		if err = errors.Join(err, deleted.Error()); err != nil {
			return fmt.Errorf("delete topics: %w", err)
		}
	}
	return p.sweepGroups(ctx, admin)
}

// sweepGroups tries again while a group has members: those of processes that
// were killed stay for their session timeout.
func (p *place) sweepGroups(ctx context.Context, admin *kadm.Client) error {
	for {
		groups, err := admin.ListGroups(ctx)
		if err != nil {
			return fmt.Errorf("list groups: %w", err)
		}
		var names []string
		for _, name := range groups.Groups() {
			if strings.HasPrefix(name, p.kafka.Prefix) {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return nil
		}
		deleted, err := admin.DeleteGroups(ctx, names...)
		err = errors.Join(err, deleted.Error())
		if err != nil && !errors.Is(err, kerr.NonEmptyGroup) || !wait(ctx, 500*time.Millisecond) {
			return fmt.Errorf("delete groups: %w", err)
		}
	}
}

func (p *place) kafkaOptions() []kgo.Opt {
	options := []kgo.Opt{kgo.SeedBrokers(p.kafka.Brokers...), kgo.MetadataMinAge(20 * time.Millisecond)}
	if p.kafka.TLS != nil {
		options = append(options, kgo.DialTLSConfig(p.kafka.TLS))
	}
	user, password := p.kafka.SASL.Username, p.kafka.SASL.Password
	switch p.kafka.SASL.Mechanism {
	case "PLAIN":
		options = append(options, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	case "SCRAM-SHA-256":
		options = append(options, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		options = append(options, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
	}
	return options
}

func (p *place) sweepRedis(ctx context.Context) error {
	c := p.claims
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: c.Addrs, MasterName: c.MasterName, IsClusterMode: c.Cluster, DB: c.DB, Username: c.Username, Password: c.Password,
		SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword, TLSConfig: c.TLS, ContextTimeoutEnabled: true,
	})
	defer client.Close()
	remove := func(ctx context.Context, server *redis.Client) error {
		keys := server.Scan(ctx, 0, c.Prefix+"*", 1000).Iterator()
		for keys.Next(ctx) {
			if err := server.Unlink(ctx, keys.Val()).Err(); err != nil {
				return err
			}
		}
		return keys.Err()
	}
	var err error
	switch client := client.(type) {
	case *redis.ClusterClient:
		err = client.ForEachMaster(ctx, remove)
	case *redis.Client:
		err = remove(ctx, client)
	}
	if err != nil {
		return fmt.Errorf("delete keys: %w", err)
	}
	return nil
}

func (p *place) sweepStore(ctx context.Context) error {
	store, err := remotestore.Open(ctx, p.store)
	if err != nil {
		return err
	}
	for object, err := range store.List(ctx, "", "") {
		if err != nil {
			return fmt.Errorf("list objects: %w", err)
		}
		if err := store.Delete(ctx, object.Key); err != nil {
			return err
		}
	}
	return nil
}
