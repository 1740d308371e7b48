package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisConfig changes how a Redis server is started.
type RedisConfig struct {
	// Args follow the usual arguments and win over them: "--maxmemory", "10mb".
	Args []string
}

// redisArgs are what a Redis that holds claims needs: an append-only file written each second, and no eviction.
func redisArgs(port int, bind, dir string, more []string) []string {
	args := []string{
		"--port", strconv.Itoa(port), "--bind", bind, "--protected-mode", "no", "--dir", dir, "--daemonize", "no",
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction",
	}
	return append(args, more...)
}

// StartRedis runs a Redis server on data in dir.
func StartRedis(ctx context.Context, o Options, config RedisConfig, dir string) (*Server, error) {
	image, err := o.pick(ctx, Redis)
	if err != nil {
		return nil, err
	}
	return begin(ctx, dir, func(port int, dir string) (*Server, error) {
		server := &Server{Kind: Redis, Addr: address(port), probe: redisProbe(address(port))}
		if image != "" {
			server.How = "container " + image
			server.run = &container{
				image: image, port: port, inside: 6379, volumes: []string{"/data"},
				command: append([]string{"redis-server"}, redisArgs(6379, "0.0.0.0", "/data", config.Args)...),
			}
			return server, nil
		}
		program, err := exec.LookPath("redis-server")
		if err != nil {
			return nil, missing("redis-server", "the Debian package redis-server")
		}
		server.How = "process"
		server.run = &process{
			program: program, args: redisArgs(port, "127.0.0.1", dir, config.Args), dir: dir,
			log: filepath.Join(dir, "server.log"),
		}
		return server, nil
	})
}

// SentinelConfig says what a Sentinel watches.
type SentinelConfig struct {
	// Name is the master's name, Master its address.
	Name, Master string
	// Down is how long a server is silent before it counts as down.
	Down time.Duration
}

// StartSentinel runs a Redis Sentinel, a process, that decides alone when its master has failed.
func StartSentinel(ctx context.Context, config SentinelConfig, dir string) (*Server, error) {
	host, masterPort, err := net.SplitHostPort(config.Master)
	if err != nil {
		return nil, fmt.Errorf("address of the master: %w", err)
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, missing("redis-server", "the Debian package redis-server")
	}
	return begin(ctx, dir, func(port int, dir string) (*Server, error) {
		// It writes what it learns into its settings.
		file := filepath.Join(dir, "sentinel.conf")
		settings := fmt.Sprintf("port %d\nbind 127.0.0.1\nprotected-mode no\ndir %s\n"+
			"sentinel monitor %[3]s %s %s 1\nsentinel down-after-milliseconds %[3]s %[6]d\nsentinel failover-timeout %[3]s 6000\n",
			port, dir, config.Name, host, masterPort, config.Down.Milliseconds())
		if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
			return nil, fmt.Errorf("write the Sentinel's settings: %w", err)
		}
		return &Server{Kind: Redis, Addr: address(port), How: "process", probe: redisProbe(address(port)), run: &process{
			program: program, args: []string{file, "--sentinel"}, dir: dir, log: filepath.Join(dir, "server.log"),
		}}, nil
	})
}

var errNoVersion = errors.New("server tells no version")

// redisProbe answers with the version once the server has loaded its data.
func redisProbe(addr string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		client := redis.NewClient(&redis.Options{Addr: addr, DialTimeout: time.Second, MaxRetries: -1})
		defer client.Close()
		if err := client.Ping(ctx).Err(); err != nil {
			return "", fmt.Errorf("ping: %w", err)
		}
		info, err := client.Info(ctx, "server").Result()
		if err != nil {
			return "", fmt.Errorf("info: %w", err)
		}
		for line := range strings.Lines(info) {
			if version, found := strings.CutPrefix(line, "redis_version:"); found {
				return strings.TrimSpace(version), nil
			}
		}
		return "", errNoVersion
	}
}
