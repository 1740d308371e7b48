package claims

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Errors that callers branch on.
var (
	// ErrUnreachable: no server answered when the store was opened.
	ErrUnreachable = errors.New("redis is unreachable")
	// ErrEvicting: the server may evict keys, and an evicted state looks like
	// none. Set maxmemory-policy to noeviction.
	ErrEvicting = errors.New("redis may evict keys: set maxmemory-policy to noeviction")
	// ErrCold: Redis may have forgotten this task: ask again once its bucket
	// is warm.
	ErrCold = errors.New("redis may have forgotten this task")
	// ErrInvalid: an argument that no script would take; asking again cannot help.
	ErrInvalid = errors.New("invalid argument")
)

const (
	dialTimeout = 2 * time.Second
	callTimeout = 2 * time.Second // of one read or write; the context's deadline cuts it too
	retries     = 2               // by go-redis: every script may be repeated
	// How old the map of a Cluster's masters may get. A master that is dead
	// redirects nobody, so nothing else tells of the one that took its place.
	mapAge = 2 * time.Second
)

// Store is the connection to Redis. It is safe for concurrent use.
type Store struct {
	cfg    Config
	client redis.UniversalClient
	keys   keys
}

// Open connects, refuses a server that may evict keys ([ErrEvicting]), and
// loads the scripts. A server that does not answer is [ErrUnreachable].
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	quietly()
	s := &Store{cfg: cfg, client: newClient(cfg), keys: newKeys(cfg.Prefix)}
	if err := s.prepare(ctx); err != nil {
		_ = s.client.Close()
		return nil, err
	}
	return s, nil
}

// quietly keeps go-redis from writing to standard error: every failure comes
// back as an error of a call.
var quietly = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func newClient(cfg Config) redis.UniversalClient {
	addrs := cfg.Addrs
	if len(addrs) == 0 {
		addrs = []string{"redis"} // the dialer knows better
	}
	options := &redis.UniversalOptions{
		Addrs: addrs, MasterName: cfg.MasterName, IsClusterMode: cfg.Cluster,
		DB: cfg.DB, Username: cfg.Username, Password: cfg.Password,
		SentinelUsername: cfg.SentinelUsername, SentinelPassword: cfg.SentinelPassword,
		TLSConfig: cfg.TLS, Dialer: cfg.Dialer,
		DialTimeout: dialTimeout, ReadTimeout: callTimeout, WriteTimeout: callTimeout,
		// Without it a deadline does not cut a read that is under way.
		ContextTimeoutEnabled: true,
		MaxRetries:            retries,
		DialerRetries:         1,
		// Commands that a restricted user need not be allowed.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if cfg.Cluster {
		cluster := options.Cluster()
		cluster.ClusterStateReloadInterval = mapAge
		return redis.NewClusterClient(cluster)
	}
	return redis.NewUniversalClient(options)
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.client.Ping(ctx).Err(); err != nil {
		return unreachable(err)
	}
	if err := s.eachMaster(ctx, s.refuseEviction); err != nil {
		return err
	}
	for _, script := range scripts {
		if err := s.client.ScriptLoad(ctx, script.source).Err(); err != nil {
			return fmt.Errorf("load scripts into redis: %w", err)
		}
	}
	return nil
}

// unreachable tells a server that is away from one that answers with an error.
func unreachable(err error) error {
	var answer redis.Error
	if errors.As(err, &answer) && !strings.HasPrefix(err.Error(), "LOADING") {
		return fmt.Errorf("open redis: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// refuseEviction passes a server that does not tell: Check says so.
func (s *Store) refuseEviction(ctx context.Context, server *redis.Client) error {
	info, err := server.Info(ctx, "memory").Result()
	var answer redis.Error
	var timeout net.Error
	switch {
	case errors.As(err, &answer):
		return nil
	case errors.As(err, &timeout):
		return unreachable(err)
	case err != nil:
		return fmt.Errorf("read redis' eviction policy: %w", err)
	}
	if policy := infoField(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
		return fmt.Errorf("%w (it is %s)", ErrEvicting, policy)
	}
	return nil
}

// eachMaster calls fn for every server that takes writes.
func (s *Store) eachMaster(ctx context.Context, fn func(ctx context.Context, server *redis.Client) error) error {
	switch c := s.client.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, fn)
	case *redis.Client:
		return fn(ctx, c)
	default:
		return fmt.Errorf("redis client of kind %T", c)
	}
}

// infoField reads one line of INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

// Close ends the connections. Calls under way fail.
func (s *Store) Close() error { return s.client.Close() }

// Config is the configuration with its defaults filled in.
func (s *Store) Config() Config { return s.cfg }
