package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/embedded"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// place is where the demo takes place: the servers, and the names under which
// everything is kept there.
type place struct {
	dir    string // data and logs
	prefix string // of topics, groups, keys and objects

	environ []string // of the programs
	flags   []string // what all programs are told

	kafka  kafkaqueue.Config
	claims claims.Config
	store  remotestore.Config

	broker *process // embedded broker and Redis; nil when both are real
}

// newPrefix makes a name that nobody else has.
func newPrefix() string { return "demo-" + strings.ToLower(rand.Text()[:8]) }

// limit is how long it may take at most until a dead node's task is claimed again.
func (p *place) limit() time.Duration {
	return max(p.kafka.SessionTimeout, p.claims.Lease) + 5*time.Second
}

// startPlace starts the servers that are not given. What it returns is to be
// cleared up also when there is an error.
func startPlace(ctx context.Context, o Options, dir, offlineNode string) (*place, error) {
	p := &place{dir: dir, prefix: newPrefix(), environ: o.environ()}
	addresses := embedded.Addresses{Kafka: o.Kafka, Redis: o.Redis}
	if o.Kafka == "" || o.Redis == "" {
		own, err := p.startBroker(ctx, offlineNode)
		if err != nil {
			return p, err
		}
		if o.Kafka == "" {
			addresses.Kafka = own.Kafka
		}
		if o.Redis == "" {
			addresses.Redis = own.Redis
		}
	}
	store := "file://" + filepath.ToSlash(filepath.Join(dir, "store"))
	if o.S3 != "" {
		var err error
		if store, err = below(o.S3, p.prefix); err != nil {
			return p, err
		}
	}
	return p, p.configure(map[string]string{
		"kafka.brokers": addresses.Kafka, "kafka.prefix": p.prefix + ".",
		"redis.addrs": addresses.Redis, "redis.prefix": p.prefix + ":",
		"store.url": store,
	})
}

func (p *place) startBroker(ctx context.Context, offlineNode string) (embedded.Addresses, error) {
	ready := filepath.Join(p.dir, "servers.json")
	var err error
	p.broker, err = launch(p.dir, "broker", false, p.environ, offlineNode, "embedded",
		"--kafka", "127.0.0.1:0", "--redis", "127.0.0.1:0", "--ready-file", ready)
	if err != nil {
		return embedded.Addresses{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errNotUp)
	defer cancel()
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	go func() { gone(p.broker.watch(ctx)) }()
	addresses, err := embedded.Await(ctx, ready)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return addresses, fmt.Errorf("start broker and Redis: %w", cause)
	}
	return addresses, err
}

// startTimeout bounds the start of a program.
const startTimeout = 30 * time.Second

var errNotUp = errors.New("it is not up after 30 s")

// configure reads the settings as the programs will.
func (p *place) configure(settings map[string]string) error {
	set := pflag.NewFlagSet("demo", pflag.ContinueOnError)
	config.AddFlags(set)
	for key, value := range settings {
		if err := set.Set(key, value); err != nil {
			return err
		}
		p.flags = append(p.flags, "--"+key, value)
	}
	loaded, err := config.Load(config.Sources{Flags: set, Environ: append([]string{}, p.environ...)})
	if err != nil {
		return err
	}
	var kafkaErr, redisErr, storeErr error
	p.kafka, kafkaErr = loaded.Kafka.Config()
	p.claims, redisErr = loaded.Redis.Config()
	p.store, storeErr = loaded.Store.Config()
	return errors.Join(kafkaErr, redisErr, storeErr)
}

// reach makes sure that the servers answer, before anything is started or made
// on them.
func (p *place) reach(ctx context.Context) (*client.Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errNotUp)
	defer cancel()
	store, err := remotestore.Open(ctx, p.store)
	if err != nil {
		return nil, err
	}
	admin, err := kafkaqueue.OpenAdmin(p.kafka)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if err := errors.Join(admin.Ping(ctx), remotestore.SelfTest(ctx, store)); err != nil {
		return nil, err
	}
	return client.Open(ctx, client.Config{Kafka: p.kafka, Claims: p.claims})
}

// makeDir makes the folder for data and logs.
func makeDir() (string, error) {
	dir, err := os.MkdirTemp("", "offline-demo-")
	if err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	return dir, nil
}
