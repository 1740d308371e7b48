package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Options of [Start]. The zero value listens on two free ports of loopback and
// keeps everything in memory.
type Options struct {
	// KafkaAddr and RedisAddr are where to listen, host:port; port 0 takes a
	// free one. The broker tells its clients this address, so it cannot be a
	// wildcard such as 0.0.0.0.
	KafkaAddr string
	RedisAddr string
	// InMemory opens no port: clients use the dialers of [Servers]. The
	// addresses are ignored. Everything then works in a testing/synctest
	// bubble, when built with -tags synctests.
	InMemory bool
	// DataDir is where the broker keeps topics, records and offsets between
	// starts; empty: nowhere.
	DataDir string
	// Brokers is how many brokers the cluster has in memory, 1 unless set: with
	// more, leaders and coordinators can move.
	Brokers int
	// RedisHook sees every command before it is done, those of scripts too, and
	// may change its arguments in place; returning true says that it has answered.
	RedisHook server.Hook
	// Log is told what goes wrong in the broker; nil: nobody.
	Log *slog.Logger
}

// Addresses is where the servers are found.
type Addresses struct {
	Kafka string `json:"kafka"`
	Redis string `json:"redis"`
}

// Environ is what makes a program of ours use the servers.
func (a Addresses) Environ() []string {
	return []string{"OFFLINE_KAFKA__BROKERS=" + a.Kafka, "OFFLINE_REDIS__ADDRS=" + a.Redis}
}

// Dialer connects to a server that may be in memory.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Servers are running until Stop.
type Servers struct {
	Addresses Addresses
	// KafkaDialer and RedisDialer replace the clients' own when the servers
	// are in memory; else they are nil.
	KafkaDialer Dialer
	RedisDialer Dialer

	// Broker and Redis are the servers themselves, for tests that break them.
	Broker *kfake.Cluster
	Redis  *miniredis.Miniredis

	redisPort *port // nil in memory
	redisHook server.Hook
}

// Start starts both servers and returns when they answer. ctx bounds the start
// alone.
func Start(ctx context.Context, options Options) (*Servers, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	s := &Servers{}
	if err := s.startKafka(ctx, options); err != nil {
		return nil, fmt.Errorf("start embedded Kafka: %w", err)
	}
	if err := s.startRedis(ctx, options); err != nil {
		s.Broker.Close()
		return nil, fmt.Errorf("start embedded Redis: %w", err)
	}
	return s, nil
}

// Stop ends both servers and cuts their connections. A broker with a folder
// writes what it has to disk first. It may be called twice.
func (s *Servers) Stop() {
	if s.redisPort != nil {
		s.redisPort.close()
	}
	s.Redis.Close()
	s.Broker.Close()
}

// listen opens addr, or a free port of loopback.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: write host:port: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return nil, fmt.Errorf("listen on %q: %w", addr, errWildcard)
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
}

var errWildcard = errors.New("clients are told this address: name a host, such as 127.0.0.1")
