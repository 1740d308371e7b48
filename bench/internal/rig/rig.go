package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
	"github.com/redis/go-redis/v9"

	"github.com/offline-nodes/offline-nodes/bench/internal/system"
)

// kafkaProperties undo what the servers for tests have for tests' sake: these are what Kafka ships.
var kafkaProperties = map[string]string{
	"broker.session.timeout.ms":             "9000",
	"broker.heartbeat.interval.ms":          "2000",
	"group.initial.rebalance.delay.ms":      "3000",
	"group.min.session.timeout.ms":          "6000",
	"group.consumer.min.session.timeout.ms": "45000",
}

// javaOptions, too: the JVM's own choice of compilers and collector, and the heap of Kafka's start script.
const javaOptions = "-Xms1g -Xmx1g -XX:-UseSerialGC -XX:+UseG1GC -XX:TieredStopAtLevel=4"

// Rig is the servers. All run all the time; those that nobody uses just then cost a few hundredths of a core.
type Rig struct {
	system.Addresses
	Versions map[string]string

	dir                string
	kafka, redis       *servers.Server
	postgres           *postgres
	kafkaPID, redisPID int
}

// Start runs the servers on a new folder.
func Start(ctx context.Context) (*Rig, error) {
	dir, err := os.MkdirTemp("", "offline-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL runs as another user and has its folder in it
		return nil, err
	}
	r := &Rig{dir: dir}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Stop(context.WithoutCancel(ctx)))
	}
	return r, nil
}

func (r *Rig) start(ctx context.Context) error {
	options, err := servers.FromEnvironment()
	if err != nil {
		return err
	}
	options.Where = servers.Local // their processor time is read from /proc
	if err := os.Setenv("_JAVA_OPTIONS", javaOptions); err != nil {
		return err
	}
	r.kafka, err = servers.StartKafka(ctx, options, servers.KafkaConfig{Properties: kafkaProperties}, filepath.Join(r.dir, "kafka"))
	if err != nil {
		return err
	}
	r.redis, err = servers.StartRedis(ctx, options, servers.RedisConfig{}, filepath.Join(r.dir, "redis"))
	if err != nil {
		return err
	}
	r.postgres, err = startPostgres(ctx, filepath.Join(r.dir, "postgres"))
	if err != nil {
		return err
	}
	r.Addresses = system.Addresses{Kafka: r.kafka.Addr, Redis: r.redis.Addr, Postgres: r.postgres.url}
	r.Versions = map[string]string{"Kafka": r.kafka.Version, "Redis": r.redis.Version, "PostgreSQL": r.postgres.version}
	return r.findPIDs()
}

func (r *Rig) findPIDs() error {
	for name, pid := range map[string]*int{"java": &r.kafkaPID, "redis-server": &r.redisPID} {
		found, err := children(name)
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return fmt.Errorf("%d processes %s were started, not one", len(found), name)
		}
		*pid = found[0]
	}
	return nil
}

// Settings are those of the servers, for the report.
func (r *Rig) Settings() []string {
	return []string{
		"Apache Kafka: one broker that is its own controller, settings as shipped (acks=all, no fsync per record), heap 1 GB",
		"Redis: appendonly yes, appendfsync everysec, maxmemory-policy noeviction, no snapshots",
		fmt.Sprint("PostgreSQL: ", postgresSettings, ", the rest as shipped"),
	}
}

// Server names a server whose processor time is counted.
type Server string

// The servers.
const (
	Kafka    Server = "Kafka"
	Redis    Server = "Redis"
	Postgres Server = "PostgreSQL"
)

// ServersCPU is what the servers have used so far.
func (r *Rig) ServersCPU() (map[Server]time.Duration, error) {
	kafka, kafkaErr := CPU(r.kafkaPID)
	redis, redisErr := CPU(r.redisPID)
	pg, pgErr := TreeCPU(r.postgres.cmd.Process.Pid)
	return map[Server]time.Duration{Kafka: kafka, Redis: redis, Postgres: pg}, errors.Join(kafkaErr, redisErr, pgErr)
}

// Others is what everything but this program, its workers that have ended and the servers has used so far. A nil Rig has no
// servers.
func (r *Rig) Others() (time.Duration, error) {
	all, err := MachineCPU()
	if err != nil {
		return 0, err
	}
	self, err := readStat(os.Getpid())
	if err != nil {
		return 0, err
	}
	others := all - self.own - self.children
	if r == nil {
		return others, nil
	}
	servers, err := r.ServersCPU()
	for _, used := range servers {
		others -= used
	}
	return others, err
}

// RedisClient is a connection of its own to Redis.
func (r *Rig) RedisClient() *redis.Client { return redis.NewClient(&redis.Options{Addr: r.Redis}) }

// RedisMemory is what Redis holds, in bytes.
func (r *Rig) RedisMemory(ctx context.Context) (int64, error) {
	client := r.RedisClient()
	defer client.Close()
	info, err := client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	var n int64
	_, err = fmt.Sscan(info["Memory"]["used_memory"], &n)
	return n, err
}

// RedisCommands is how long Redis has been busy with each command so far; a script's time has that of what it calls in it.
func (r *Rig) RedisCommands(ctx context.Context) (map[string]time.Duration, error) {
	client := r.RedisClient()
	defer client.Close()
	info, err := client.InfoMap(ctx, "commandstats").Result()
	if err != nil {
		return nil, err
	}
	busy := map[string]time.Duration{}
	for name, text := range info["Commandstats"] {
		var calls, micros int64
		if _, err := fmt.Sscanf(text, "calls=%d,usec=%d", &calls, &micros); err != nil {
			return nil, fmt.Errorf("read %s %s: %w", name, text, err)
		}
		busy[strings.TrimPrefix(name, "cmdstat_")] = time.Duration(micros) * time.Microsecond
	}
	return busy, nil
}

// Clean empties Redis and brings it and PostgreSQL to rest, so that a turn does not pay for the one before it.
func (r *Rig) Clean(ctx context.Context) error {
	client := r.RedisClient()
	defer client.Close()
	// A rewrite of the log that is under way would refuse the next one.
	if err := errors.Join(client.FlushAll(ctx).Err(), awaitRewrite(ctx, client)); err != nil {
		return fmt.Errorf("empty Redis: %w", err)
	}
	if err := errors.Join(client.BgRewriteAOF(ctx).Err(), awaitRewrite(ctx, client)); err != nil {
		return fmt.Errorf("shorten the log of Redis: %w", err)
	}
	conn, err := pgx.Connect(ctx, r.postgres.url+"/postgres")
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CHECKPOINT")
	return errors.Join(err, conn.Close(ctx))
}

// awaitRewrite waits until Redis is not rewriting its log.
func awaitRewrite(ctx context.Context, client *redis.Client) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := client.InfoMap(ctx, "persistence").Result()
		if err != nil {
			return err
		}
		if p := info["Persistence"]; p["aof_rewrite_in_progress"] == "0" && p["aof_rewrite_scheduled"] == "0" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stop ends the servers and removes their data.
func (r *Rig) Stop(ctx context.Context) error {
	var err error
	for _, s := range []*servers.Server{r.kafka, r.redis} {
		if s != nil {
			err = errors.Join(err, s.Stop(ctx))
		}
	}
	if r.postgres != nil {
		err = errors.Join(err, r.postgres.stop())
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}
