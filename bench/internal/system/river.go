package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

type riverSystem struct{ spec Spec }

func (s *riverSystem) config() *river.Config {
	c := &river.Config{Logger: slog.New(slog.DiscardHandler)}
	slots := 100 // of its examples; there is no default
	if s.spec.Variant != Default {
		// Those of its own benchmark, `river bench`.
		slots, c.FetchCooldown, c.FetchPollInterval = 2000, 2*time.Millisecond, 20*time.Millisecond
	}
	if s.spec.Slots > 0 {
		slots = s.spec.Slots
	}
	c.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots}}
	c.SoftStopTimeout = s.spec.Grace
	if s.spec.LongTasks {
		c.JobTimeout = 10 * time.Minute
	}
	if s.spec.Variant == Tuned {
		// A job is rescued by its age alone, so the shortest time that a task of one minute allows.
		c.JobTimeout, c.RescueStuckJobsAfter = 65*time.Second, 66*time.Second
	}
	if s.spec.FastRetries {
		c.RetryPolicy = riverRetries{}
	}
	return c
}

type riverRetries struct{}

func (riverRetries) NextRetry(job *rivertype.JobRow) time.Time {
	return time.Now().Add(retryDelay(len(job.Errors) + 1))
}

func (s *riverSystem) connections() int {
	if s.spec.Variant == Default {
		return 0
	}
	return 20
}

func (s *riverSystem) Settings() []string {
	c := s.config()
	settings := []string{fmt.Sprintf("MaxWorkers %d", c.Queues[river.QueueDefault].MaxWorkers)}
	if c.FetchCooldown == 0 {
		settings = append(settings, "FetchCooldown 100 ms, FetchPollInterval 1 s, a pool of 4 connections (defaults), LISTEN/NOTIFY")
	} else {
		settings = append(settings, fmt.Sprintf("FetchCooldown %s, FetchPollInterval %s, as in `river bench`; LISTEN/NOTIFY, %d connections",
			c.FetchCooldown, c.FetchPollInterval, s.connections()))
	}
	if c.RescueStuckJobsAfter != 0 {
		settings = append(settings, fmt.Sprintf("JobTimeout %s, RescueStuckJobsAfter %s", c.JobTimeout, c.RescueStuckJobsAfter))
	} else if s.spec.LongTasks {
		settings = append(settings, "JobTimeout 10 min, RescueStuckJobsAfter 1 h (default)")
	}
	if s.spec.Variant == Relaxed {
		settings = append(settings, "synchronous_commit off: a commit does not wait for the disk, as Redis with appendfsync everysec does not")
	}
	if s.spec.Variant == Default {
		return append(settings, "jobs inserted one by one")
	}
	return append(settings, "jobs inserted with InsertManyFast")
}

func (s *riverSystem) database() string { return strings.ReplaceAll(s.spec.Space, "-", "_") }

func (s *riverSystem) pool(ctx context.Context) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(s.spec.Postgres + "/" + s.database())
	if err != nil {
		return nil, err
	}
	if n := s.connections(); n > 0 {
		c.MaxConns = int32(n)
	}
	if s.spec.Variant == Relaxed {
		c.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	}
	return pgxpool.NewWithConfig(ctx, c)
}

// administer runs a statement in the cluster's own database.
func (s *riverSystem) administer(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.spec.Postgres+"/postgres")
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

func (s *riverSystem) Create(ctx context.Context) error {
	if err := s.administer(ctx, "CREATE DATABASE "+pgx.Identifier{s.database()}.Sanitize()); err != nil {
		return err
	}
	pool, err := s.pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: s.config().Logger})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

func (s *riverSystem) Drop(ctx context.Context) error {
	return s.administer(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{s.database()}.Sanitize()+" WITH (FORCE)")
}

// riverArgs are a task as River carries it.
type riverArgs struct{ work.Task }

// Kind is what River calls a task's type.
func (riverArgs) Kind() string { return TaskType }

func (s *riverSystem) Work(ctx context.Context, do Handler, ready func()) error {
	pool, err := s.pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	config := s.config()
	config.ID = s.spec.Worker
	config.Workers = river.NewWorkers()
	river.AddWorker(config.Workers, river.WorkFunc(func(ctx context.Context, job *river.Job[riverArgs]) error {
		return do(ctx, job.Args.Task, job.Attempt)
	}))
	client, err := river.NewClient(riverpgxv5.New(pool), config)
	if err != nil {
		return err
	}
	// The context's end would stop it softly, too; Stop says when that is done.
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	err = client.Stop(context.WithoutCancel(ctx))
	<-client.Stopped()
	return err
}

func (s *riverSystem) Open(ctx context.Context) (Queue, error) {
	pool, err := s.pool(ctx)
	if err != nil {
		return nil, err
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: s.config().Logger})
	if err != nil {
		return nil, err
	}
	return &riverQueue{system: s, pool: pool, client: client}, nil
}

type riverQueue struct {
	system *riverSystem
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
}

func (q *riverQueue) Submit(ctx context.Context, t work.Task) error {
	_, err := q.client.Insert(ctx, riverArgs{t}, nil)
	return err
}

func (q *riverQueue) SubmitMany(ctx context.Context, tasks []work.Task) error {
	if q.system.spec.Variant == Default {
		return oneByOne(ctx, q, tasks)
	}
	batch := make([]river.InsertManyParams, len(tasks))
	for i, t := range tasks {
		batch[i].Args = riverArgs{t}
	}
	_, err := q.client.InsertManyFast(ctx, batch)
	return err
}

func (q *riverQueue) Left(ctx context.Context) (int, error) {
	return q.count(ctx, "state NOT IN ('completed', 'discarded', 'cancelled')")
}

func (q *riverQueue) Dead(ctx context.Context) (int, error) {
	return q.count(ctx, "state = 'discarded'")
}

func (q *riverQueue) count(ctx context.Context, where string) (n int, err error) {
	err = q.pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE "+where).Scan(&n)
	return n, err
}

func (q *riverQueue) Close(context.Context) error {
	q.pool.Close()
	return nil
}
