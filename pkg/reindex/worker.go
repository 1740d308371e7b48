package reindex

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// stallTimeout ends a run that neither moves a byte nor looks at a document for so long.
const stallTimeout = 15 * time.Minute

// Config is what a worker works with.
type Config struct {
	// Store holds the shards.
	Store remotestore.Store

	// Scratch is a folder for segments; it needs room for the largest one of the source. The switch needs room for the
	// whole target if the source was written to meanwhile. It may be shared with other processes.
	Scratch string

	// Cache, if not nil, is where segments are looked for and kept.
	Cache *shard.Cache

	// Node is written into manifests, for people.
	Node string

	// Rate is how many documents a second all slices in this process read together; 0 or nil: as many as they can. It is asked
	// again and again, so it may change at any time, and must be quick.
	Rate func() float64

	// BatchBytes of documents become one segment; default 32 MiB. A slice needs about ten times as much memory.
	BatchBytes int

	// BatchEvery is when a batch that is not full becomes a segment all the same, so that a crash of a slice that is held
	// back costs little; default 5 minutes.
	BatchEvery time.Duration

	// Segments is about how many segments a target gets at most; default 96. With more, slices merge what they have built.
	Segments int

	// Rest is how many changed documents the switch catches up with by itself; default 10,000. For more there is another
	// round of all slices.
	Rest uint64
}

const (
	defaultBatchBytes = 32 << 20
	defaultBatchEvery = 5 * time.Minute
	defaultRest       = 10_000
	defaultSegments   = 96
)

// Register adds both types to a mux. It removes what dead processes have left in the scratch folder.
func Register(mux *task.Mux, cfg Config, options ...task.Option) error {
	if _, err := shard.SweepScratch(cfg.Scratch); err != nil {
		return fmt.Errorf("register reindexes: %w", err)
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = defaultBatchBytes
	}
	if cfg.BatchEvery == 0 {
		cfg.BatchEvery = defaultBatchEvery
	}
	if cfg.Rest == 0 {
		cfg.Rest = defaultRest
	}
	if cfg.Segments == 0 {
		cfg.Segments = defaultSegments
	}
	if cfg.Rate == nil {
		cfg.Rate = func() float64 { return 0 }
	}
	w := &worker{Config: cfg, pace: &pace{rate: cfg.Rate}}
	options = append([]task.Option{task.Guarded(), task.Stall(stallTimeout)}, options...)
	task.Handle(mux, Type, w.reindex, options...)
	task.Handle(mux, SliceType, w.slice, options...)
	return nil
}

type worker struct {
	Config

	pace *pace // of all slices here
}

// pause waits until the slice may take one more document.
func (w *worker) pause(ctx context.Context, s *slice) error {
	alive := func() { s.progress.pulse.Add(1) }
	if err := w.pace.take(ctx, alive); err != nil {
		return err
	}
	return s.pace.take(ctx, alive)
}

// judge tells apart what no further attempt can mend.
func judge(err error) error {
	for _, hopeless := range []error{shard.ErrCorrupt, shard.ErrFormat, shard.ErrDocument} {
		if errors.Is(err, hopeless) {
			return task.Permanent(err)
		}
	}
	if errors.Is(err, shard.ErrNotFound) {
		return task.Permanent(fmt.Errorf("%w: it never was, or garbage collection has taken it; start anew, under another task ID", err))
	}
	return err
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
