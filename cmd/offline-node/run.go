package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/internal/admin"
	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/garbage"
	"github.com/offline-nodes/offline-nodes/internal/probe"
	"github.com/offline-nodes/offline-nodes/internal/telemetry"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	dynamic "github.com/offline-nodes/offline-nodes/pkg/settings"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// errLost marks errors of a node that ran and could not go on.
var errLost = errors.New("the node cannot go on")

func runCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Run one node until it is told to stop, then drain it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := config.Load(config.Sources{Flags: c.Flags()})
			if err != nil {
				return err
			}
			return run(c.Context(), settings)
		},
	}
	config.AddFlags(c.Flags())
	return c
}

func run(ctx context.Context, settings *config.Settings) (err error) {
	name, err := settings.Node.NodeName()
	if err != nil {
		return err
	}
	tel, err := telemetry.Start(ctx, telemetry.Config{
		Service: "offline-node", Version: version(), Instance: name, Log: settings.Log, Telemetry: settings.Telemetry,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tel.Shutdown(context.WithoutCancel(ctx))) }()
	live, err := dynamicSettings()
	if err != nil {
		return err
	}
	service, err := service(ctx, settings, live, name, tel)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { runSchedules(ctx, settings, name, tel) })
	beside.Go(func() { follow(ctx, settings, live, tel) })
	defer beside.Wait()
	defer stop()
	if settings.Admin.Listen == "" {
		return serve(ctx, service)
	}
	port, err := admin.Listen(ctx, admin.Config{
		Admin: settings.Admin, Metrics: tel.Metrics(),
		Live:  []admin.Check{{Name: "loops", Func: func(context.Context) error { return service.Healthy() }}},
		Ready: []admin.Check{{Name: "node", Func: func(context.Context) error { return service.Ready() }}},
	})
	if err != nil {
		return err
	}
	tel.Log.Info("admin port", "address", port.Addr())
	group, ctx := errgroup.WithContext(ctx)
	inner, stopPort := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPort()
	group.Go(func() error { return port.Run(inner) })
	group.Go(func() error {
		defer stopPort() // the port tells of the drain until it is over
		return serve(ctx, service)
	})
	return group.Wait()
}

func serve(ctx context.Context, service *node.Service) error {
	if err := service.Run(ctx); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}

// service is the node that the settings describe.
func service(ctx context.Context, settings *config.Settings, live *dynamic.Values, name string, tel *telemetry.Telemetry) (*node.Service, error) {
	mux, err := workers(ctx, settings, live, tel.Meter())
	if err != nil {
		return nil, err
	}
	kafka, kafkaErr := settings.Kafka.Config()
	redis, redisErr := settings.Redis.Config()
	if err := errors.Join(settings.Apply(mux), kafkaErr, redisErr); err != nil {
		return nil, err
	}
	return node.New(node.Config{
		Name: name, Kafka: kafka, Claims: redis, Workers: mux, Types: settings.Served(mux),
		Grace: settings.Node.Grace, Version: version(), Log: tel.Log, Meter: tel.Meter(), Tracer: tel.Tracer(),
	})
}

// workers are the task types that this program knows. Merges need a store.
func workers(ctx context.Context, settings *config.Settings, live *dynamic.Values, meter metric.Meter) (*task.Mux, error) {
	mux := task.NewMux()
	probe.Register(mux)
	cfg, err := settings.Store.Config()
	if errors.Is(err, config.ErrNoStore) {
		return mux, nil
	}
	store, err := remotestore.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := remotestore.SelfTest(ctx, store); err != nil {
		return nil, err
	}
	repository, err := openRepository(ctx, settings)
	if err != nil {
		return nil, err
	}
	name, err := settings.Node.NodeName()
	if err != nil {
		return nil, err
	}
	return mux, errors.Join(
		merge.Register(mux, merge.Config{Store: store, Scratch: settings.Node.Scratch(), Node: name}),
		reindex.Register(mux, reindex.Config{
			Store: store, Scratch: settings.Node.Scratch(), Node: name, Rate: reindex.RateIn(live),
		}),
		snapshot.Register(mux, snapshot.Config{Store: store, Repository: repository, Scratch: settings.Node.Scratch(), Node: name}),
		remotegc.Register(mux, garbage.Config(store, meter)),
	)
}

// openRepository returns the second store, or nil where none is configured.
func openRepository(ctx context.Context, settings *config.Settings) (remotestore.Store, error) {
	if !settings.HasRepository() {
		return nil, nil
	}
	cfg, err := settings.Repository.Config()
	if err != nil {
		return nil, err
	}
	store, err := remotestore.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	if err := remotestore.SelfTest(ctx, store); err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	return store, nil
}

// version is the module's, as the build knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}
