package main

import (
	"context"
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // schedules name time zones, and not every machine has them

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/telemetry"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/schedule"
)

// reconnect is the time between two attempts to reach Redis.
const reconnect = 5 * time.Second

// runSchedules submits what schedules say, whenever this node is the one to do so. The node runs tasks without it, so
// what keeps it from working is told, and ends nothing.
func runSchedules(ctx context.Context, settings *config.Settings, name string, tel *telemetry.Telemetry) {
	for ctx.Err() == nil {
		if err := schedules(ctx, settings, name, tel); err != nil && ctx.Err() == nil {
			tel.Log.Warn("schedules are not looked after by this node; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnect):
		}
	}
}

func schedules(ctx context.Context, settings *config.Settings, name string, tel *telemetry.Telemetry) (err error) {
	kafka, kafkaErr := settings.Kafka.Config()
	redis, redisErr := settings.Redis.Config()
	if err := errors.Join(kafkaErr, redisErr); err != nil {
		return err
	}
	kafka.Log, kafka.Meter = tel.Log, tel.Meter()
	c, err := client.Open(ctx, client.Config{Kafka: kafka, Claims: redis, Log: tel.Log, Tracer: tel.Tracer()})
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err = errors.Join(err, c.Close(last))
	}()
	stored, err := kafkaqueue.NewSettings(kafka)
	if err != nil {
		return err
	}
	claimant := name + "/" + uuid.NewString()[:8]
	lock, err := c.Lock(claims.SchedulerLock, claimant)
	if err != nil {
		return err
	}
	lease := redis.Lease
	if lease == 0 {
		lease = claims.DefaultLease
	}
	s, err := schedule.New(schedule.Config{
		Submitter: c, Settings: stored, Lock: lock, Lease: lease, Node: "scheduler on " + name, Log: tel.Log, Meter: tel.Meter(),
	})
	if err != nil {
		return fmt.Errorf("schedules: %w", err)
	}
	return s.Run(ctx)
}
