package main

import (
	"context"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/telemetry"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/settings"
)

// dynamicSettings are those that a node follows while it runs: the defaults until others are read.
func dynamicSettings() (*settings.Values, error) {
	return settings.New(settings.Config{Definitions: reindex.Definitions()})
}

// follow takes over what is set for all processes until ctx ends. A node runs without it, so what keeps it from working is
// told, and ends nothing.
func follow(ctx context.Context, cfg *config.Settings, v *settings.Values, tel *telemetry.Telemetry) {
	kafka, err := cfg.Kafka.Config()
	kafka.Log, kafka.Meter = tel.Log, tel.Meter()
	if err == nil {
		err = followTopic(ctx, kafka, v, tel)
	}
	if err != nil && ctx.Err() == nil {
		tel.Log.Warn("dynamic settings are not followed any more", "error", err)
	}
}

func followTopic(ctx context.Context, kafka kafkaqueue.Config, v *settings.Values, tel *telemetry.Telemetry) error {
	stored, err := kafkaqueue.NewSettings(kafka)
	if err != nil {
		return err
	}
	return stored.Run(ctx, func(key string, value []byte) {
		if err := v.Apply(key, value); err != nil {
			tel.Log.Warn("a setting is not heeded: the value before it stays", "error", err)
		}
	})
}
