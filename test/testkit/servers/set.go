package servers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
)

// Variables of the environment that name running servers: host:port, more than one for Kafka separated by commas; for S3
// an endpoint with its keys, http://access:secret@host:port.
const (
	EnvKafka = "OFFLINE_TEST_KAFKA"
	EnvRedis = "OFFLINE_TEST_REDIS"
	EnvS3    = "OFFLINE_TEST_S3"
)

// Set holds at most one server of each kind, each started when it is first asked for. It is safe for concurrent use.
type Set struct {
	options Options
	dir     string

	mu      sync.Mutex
	running map[Kind]*slot
}

// slot lets servers of different kinds start side by side.
type slot struct {
	once   sync.Once
	server *Server
	err    error
}

// NewSet makes a set with its servers' data and logs in dir, which the caller removes after Stop.
func NewSet(o Options, dir string) *Set {
	return &Set{options: o, dir: dir, running: map[Kind]*slot{}}
}

// Start returns the set's server of a kind. A start that failed is not tried again: its error comes back.
func (s *Set) Start(ctx context.Context, kind Kind) (*Server, error) {
	s.mu.Lock()
	mine, found := s.running[kind]
	if !found {
		mine = &slot{}
		s.running[kind] = mine
	}
	s.mu.Unlock()

	mine.once.Do(func() { mine.server, mine.err = s.start(ctx, kind) })
	return mine.server, mine.err
}

func (s *Set) start(ctx context.Context, kind Kind) (*Server, error) {
	dir := filepath.Join(s.dir, string(kind))
	switch kind {
	case Kafka:
		return StartKafka(ctx, s.options, KafkaConfig{}, dir)
	case Redis:
		return StartRedis(ctx, s.options, RedisConfig{}, dir)
	case S3:
		return StartS3(ctx, s.options, dir)
	default:
		return nil, fmt.Errorf("no server of kind %q", kind)
	}
}

// SaveLogs writes what each running server has written so far to dir, as kafka.log and the like.
func (s *Set) SaveLogs(ctx context.Context, dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for kind, mine := range s.running {
		mine.once.Do(func() {})
		if mine.server == nil {
			continue
		}
		out, err := mine.server.run.output(ctx)
		errs = append(errs, err, os.WriteFile(filepath.Join(dir, string(kind)+".log"), out, 0o600))
	}
	return errors.Join(errs...)
}

// Stop ends all servers at once. A start under way is waited for. Nothing may be started afterwards.
func (s *Set) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, mine := range s.running {
		mine.once.Do(func() {})
		if mine.server != nil {
			errs = append(errs, mine.server.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}

// Variable returns the name and value by which the environment names this server to tests.
func (s *Server) Variable() (name, value string) {
	switch s.Kind {
	case Kafka:
		return EnvKafka, s.Addr
	case Redis:
		return EnvRedis, s.Addr
	default:
		endpoint := url.URL{Scheme: "http", Host: s.Addr[len("http://"):], User: url.UserPassword(S3AccessKey, S3SecretKey)}
		return EnvS3, endpoint.String()
	}
}

// FromVariable returns the server of a kind that the environment names; empty when it names none.
func FromVariable(kind Kind) string {
	switch kind {
	case Kafka:
		return os.Getenv(EnvKafka)
	case Redis:
		return os.Getenv(EnvRedis)
	case S3:
		return os.Getenv(EnvS3)
	default:
		return ""
	}
}
