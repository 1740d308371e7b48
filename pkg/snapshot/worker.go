package snapshot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	// stallTimeout ends a run that does not move a byte for so long.
	stallTimeout = 15 * time.Minute

	// shardSlots is how many shards one node works on at a time: a shard alone does not use what a store gives.
	shardSlots = 2

	// maxBase is how many of the last snapshots in a repository are looked through for blobs that need no copy. What
	// a shard still has was in its last snapshot; more than one are for those that took other shards.
	maxBase = 5
)

// Config is what workers work with.
type Config struct {
	// Store holds the shards and the shallow snapshots.
	Store remotestore.Store

	// Repository holds full snapshots. Without one they are refused.
	Repository remotestore.Store

	// Scratch is a folder with room for a few of the largest segments. It may be shared with other processes.
	Scratch string

	// Node is written into manifests, for people.
	Node string
}

// Register adds the types to a mux. It removes what dead processes have left in the scratch folder.
func Register(mux *task.Mux, cfg Config, options ...task.Option) error {
	if _, err := shard.SweepScratch(cfg.Scratch); err != nil {
		return fmt.Errorf("register snapshots: %w", err)
	}
	w := &worker{cfg}
	defaults := func(more ...task.Option) []task.Option {
		return slices.Concat([]task.Option{task.Guarded(), task.Stall(stallTimeout)}, more, options)
	}
	task.Handle(mux, Type, w.snapshot, defaults()...)
	task.Handle(mux, ShardType, w.snapshotShard, defaults(task.Slots(shardSlots))...)
	task.Handle(mux, RestoreType, w.restore, defaults()...)
	task.Handle(mux, RestoreShardType, w.restoreShard, defaults(task.Slots(shardSlots))...)
	return nil
}

type worker struct{ Config }

// home is where the documents of a snapshot are.
func (w *worker) home(repository bool) (remotestore.Store, error) {
	switch {
	case !repository:
		return w.Store, nil
	case w.Repository == nil:
		return nil, task.Permanent(ErrNoRepository)
	}
	return w.Repository, nil
}

func (w *worker) snapshot(ctx context.Context, x *task.Run[Params]) error {
	home, err := w.home(x.Params.Repository)
	if err != nil {
		return err
	}
	d, err := w.begin(ctx, x, home)
	if err != nil {
		return permanent(err)
	}
	if !d.Complete() {
		if d, err = w.take(ctx, x, home, d); err != nil {
			return err
		}
	}
	if err := tidy(ctx, home, d); err != nil {
		return err
	}
	if x.Params.Repository { // nothing is copied any more
		if err := Delete(ctx, w.Store, x.Params.Snapshot+copySuffix); err != nil {
			return err
		}
	}
	result := Result{Snapshot: d.Snapshot}
	for _, p := range d.Shards {
		result.add(p.Segments, p.Docs, p.Bytes, p.Copied)
	}
	return x.SetResult(result)
}

// begin takes the name, and returns the document if this task took it before.
func (w *worker) begin(ctx context.Context, x *task.Run[Params], home remotestore.Store) (Document, error) {
	d := Document{Snapshot: x.Params.Snapshot, Repository: x.Params.Repository, Task: x.ID, BegunAt: time.Now().UTC()}
	for _, s := range x.Params.Shards {
		d.Shards = append(d.Shards, Part{Shard: s})
	}
	body, err := d.encode()
	if err != nil {
		return Document{}, err
	}
	err = create(ctx, home, begunKey(d.Snapshot), body)
	if !errors.Is(err, remotestore.ErrExists) {
		return d, err
	}
	found, err := Get(ctx, home, d.Snapshot)
	if err == nil && found.Task != x.ID {
		err = fmt.Errorf("%w: %s was begun at %s by task %s", ErrExists, found.Snapshot, found.BegunAt.Format(time.RFC3339), found.Task)
	}
	return found, err
}

// take waits for the parts of a snapshot and completes it.
func (w *worker) take(ctx context.Context, x *task.Run[Params], home remotestore.Store, d Document) (Document, error) {
	children := make([]task.Child, 0, len(x.Params.Shards))
	for _, s := range x.Params.Shards {
		children = append(children, task.Child{Name: slug(s), Type: ShardType, Params: ShardParams{
			Snapshot: d.Snapshot, Shard: s, Repository: x.Params.Repository,
		}})
	}
	states, err := x.Await(ctx, children...)
	if err != nil {
		return d, err
	}
	d.Shards = make([]Part, len(states))
	for i, s := range states {
		if err := json.Unmarshal(s.Result, &d.Shards[i]); err != nil {
			return d, fmt.Errorf("result of task %s: %w", s.ID, err)
		}
	}
	return w.complete(ctx, home, d)
}

// base are the last snapshots in the repository.
func (w *worker) base(ctx context.Context) ([]string, error) {
	all, err := List(ctx, w.Repository)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(l Listed) bool { return l.Err != nil || !l.Complete() })
	slices.SortFunc(all, func(a, b Listed) int {
		return cmp.Or(b.EndedAt.Compare(a.EndedAt), cmp.Compare(a.Snapshot, b.Snapshot))
	})
	names := make([]string, 0, maxBase)
	for _, l := range all[:min(len(all), maxBase)] {
		names = append(names, l.Snapshot)
	}
	return names, nil
}

// complete writes the document, or returns the one that another run of the task has written.
func (w *worker) complete(ctx context.Context, home remotestore.Store, d Document) (Document, error) {
	keys, err := partKeys(ctx, home, d.Snapshot)
	if err != nil {
		return d, err
	}
	for _, p := range d.Shards {
		if key := partKey(d.Snapshot, p.Shard, p.Part); !slices.Contains(keys, key) {
			return d, task.Permanent(fmt.Errorf("%s: %w: the snapshot was deleted while it was made", key, shard.ErrNotFound))
		}
	}
	d.EndedAt = time.Now().UTC()
	body, err := d.encode()
	if err != nil {
		return d, err
	}
	err = create(ctx, home, documentKey(d.Snapshot), body)
	if errors.Is(err, remotestore.ErrExists) {
		return read(ctx, home, documentKey(d.Snapshot), d.Snapshot)
	}
	return d, err
}

// tidy removes the parts of runs that died: they would pin blobs for nothing. Only the document that is in the store tells
// which these are, so that two runs of the task cannot remove each other's.
func tidy(ctx context.Context, home remotestore.Store, d Document) error {
	keys, err := partKeys(ctx, home, d.Snapshot)
	if err != nil {
		return err
	}
	named := make(map[string]bool, len(d.Shards))
	for _, p := range d.Shards {
		named[partKey(d.Snapshot, p.Shard, p.Part)] = true
	}
	for _, key := range keys {
		if named[key] {
			continue
		}
		if err := remove(ctx, home, key); err != nil {
			return err
		}
	}
	return nil
}

// permanent marks errors that another attempt would meet again.
func permanent(err error) error {
	for _, lasting := range []error{ErrExists, ErrIncomplete, ErrNewer, shard.ErrNotFound, shard.ErrCorrupt, shard.ErrFormat} {
		if errors.Is(err, lasting) {
			return task.Permanent(err)
		}
	}
	return err
}
