package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/internal/admin"
	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/dataapi"
	"github.com/offline-nodes/offline-nodes/internal/telemetry"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/settings"
)

// stopTimeout is how long requests may take to finish at the end.
const stopTimeout = dataapi.Timeout + 5*time.Second

// run serves until ctx ends.
func run(ctx context.Context, settings *config.Settings) (err error) {
	name, err := settings.Node.NodeName()
	if err != nil {
		return err
	}
	tel, err := telemetry.Start(ctx, telemetry.Config{
		Service: "data-node", Version: version(), Instance: name, Log: settings.Log, Telemetry: settings.Telemetry,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tel.Shutdown(context.WithoutCancel(ctx))) }()
	port, err := (&net.ListenConfig{}).Listen(ctx, "tcp", settings.DataNode.Listen)
	if err != nil {
		return err
	}
	defer port.Close() // when nothing served on it
	queue, err := newQueue(settings, name, tel)
	if err != nil {
		return err
	}
	defer queue.close(ctx)
	n, store, err := open(ctx, settings, name, queue, tel)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	ready := readiness(store)
	health, err := listenAdmin(ctx, settings, ready, tel)
	if err != nil {
		return err
	}
	snapshots, err := snapshots(ctx, settings, store, queue)
	if err != nil {
		return err
	}
	return serve(ctx, settings, port, health, &following{node: n, queue: queue, snapshots: snapshots, log: tel.Log}, ready, tel)
}

// snapshots is what requests about them work with.
func snapshots(ctx context.Context, settings *config.Settings, store remotestore.Store, queue *queue) (dataapi.Snapshots, error) {
	s := dataapi.Snapshots{Store: store, Tasks: queue}
	if !settings.HasRepository() {
		return s, nil
	}
	cfg, err := settings.Repository.Config()
	if err == nil {
		s.Repository, err = remotestore.Open(ctx, cfg)
	}
	if err != nil {
		return s, fmt.Errorf("repository: %w", err)
	}
	return s, nil
}

// following is a node and the dynamic settings that it follows.
type following struct {
	node      *datanode.Node
	queue     *queue
	snapshots dataapi.Snapshots
	log       *slog.Logger
}

// values are the settings in effect: those of the node's configuration until others are set.
func (f *following) values() (v *settings.Values, err error) {
	follow := func() {
		if err := f.node.Follow(v); err != nil {
			f.log.Error("settings not taken over", "error", err)
		}
	}
	v, err = settings.New(settings.Config{
		Definitions: slices.Concat(datanode.Definitions(), reindex.Definitions()), // what offline nodes follow can be set here, too
		Configured:  f.node.Offline().Configured(), Changed: follow,
	})
	if err != nil {
		return nil, err
	}
	return v, f.node.Follow(v)
}

// run follows what is set for all processes until ctx ends.
func (f *following) run(ctx context.Context, v *settings.Values) error {
	return f.queue.stored.Run(ctx, func(key string, value []byte) {
		if err := v.Apply(key, value); err != nil {
			f.log.Warn("a setting is not heeded: the value before it stays", "error", err)
		}
	})
}

// open opens the node and the shards that it serves from the start.
func open(ctx context.Context, settings *config.Settings, name string, queue *queue, tel *telemetry.Telemetry) (*datanode.Node, remotestore.Store, error) {
	cfg, err := settings.Store.Config()
	if err != nil {
		return nil, nil, err
	}
	store, err := remotestore.Open(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := remotestore.SelfTest(ctx, store); err != nil {
		return nil, nil, err
	}
	n, err := datanode.Open(datanode.Config{
		Name: name, Store: store, Dir: dir(settings), Queue: queue,
		CacheBytes: int64(settings.DataNode.CacheBytes),
		Refresh:    settings.DataNode.Refresh,
		Poll:       settings.DataNode.Poll,
		Offline: datanode.Offline{
			Merge:       datanode.Mode(settings.DataNode.Offline.Merge),
			MinBytes:    int64(settings.DataNode.Offline.MinBytes),
			MaxQueueAge: settings.DataNode.Offline.MaxQueueAge,
		},
		Log: tel.Log, Meter: tel.Meter(),
	})
	if err != nil {
		return nil, nil, err
	}
	for _, shard := range settings.DataNode.Shards {
		if _, _, err := n.Create(ctx, shard, datanode.Settings{}); err != nil {
			return nil, nil, errors.Join(err, n.Close())
		}
	}
	return n, store, nil
}

func dir(settings *config.Settings) string {
	if settings.DataNode.Dir != "" {
		return settings.DataNode.Dir
	}
	return filepath.Join(os.TempDir(), "offline-data-node")
}

// readiness asks the store for an answer.
func readiness(store remotestore.Store) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := store.Get(ctx, "readiness", remotestore.Range{Bytes: 1})
		if err == nil || errors.Is(err, remotestore.ErrNotFound) {
			return nil
		}
		return fmt.Errorf("the store does not answer: %w", err)
	}
}

// listenAdmin opens the port for metrics and health; nil when there is none.
func listenAdmin(ctx context.Context, settings *config.Settings, ready func(context.Context) error, tel *telemetry.Telemetry) (*admin.Server, error) {
	if settings.Admin.Listen == "" {
		return nil, nil
	}
	return admin.Listen(ctx, admin.Config{
		Admin: settings.Admin, Metrics: tel.Metrics(), Log: tel.Log,
		Ready: []admin.Check{{Name: "store", Func: ready}},
	})
}

// serve answers requests until ctx ends, lets those under way finish, and stops the node after them.
func serve(ctx context.Context, settings *config.Settings, port net.Listener, health *admin.Server,
	f *following, ready func(context.Context) error, tel *telemetry.Telemetry,
) error {
	values, err := f.values()
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: dataapi.New(dataapi.Config{
			Node: f.node, Settings: values, Stored: f.queue, Snapshots: f.snapshots,
			Garbage: f.queue.collect, Hosts: append([]string{hostOf(settings.DataNode.Listen)}, settings.Admin.Hosts...),
			Metrics: tel.Metrics(), Ready: ready,
		}),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: dataapi.Timeout, WriteTimeout: 2 * dataapi.Timeout, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(tel.Log.Handler(), slog.LevelWarn),
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.node.Run(inner) })
	group.Go(func() error { return f.run(inner, values) })
	if health != nil {
		group.Go(func() error { return health.Run(inner) })
	}
	group.Go(func() error {
		if err := server.Serve(port); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		defer stop()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return server.Shutdown(last)
	})
	tel.Log.Info("serving", "address", port.Addr().String(), "offline_merge", string(f.node.Offline().Merge))
	return group.Wait()
}

func hostOf(listen string) string {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	return host
}

// version is that of the module, when it was built from one.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}
