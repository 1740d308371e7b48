package remotegc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// stallTimeout ends a run that neither reads nor deletes an object for so long.
const stallTimeout = 15 * time.Minute

// Register adds the type to a mux.
func Register(mux *task.Mux, cfg Config, options ...task.Option) error {
	c, err := New(cfg)
	if err != nil {
		return err
	}
	c.register(mux, options...)
	return nil
}

func (c *Collector) register(mux *task.Mux, options ...task.Option) {
	defaults := []task.Option{task.Guarded(), task.Stall(stallTimeout)}
	task.Handle(mux, Type, c.work, append(defaults, options...)...)
}

// checkpoint is kept after each shard: a later run goes on behind it.
type checkpoint struct {
	After  string `json:"after"`
	Result Result `json:"result"`
}

// work collects the garbage of one shard after the other, in the order of their names.
func (c *Collector) work(ctx context.Context, run *task.Run[Params]) error {
	var meter remotestore.Meter
	ctx = remotestore.WithMeter(ctx, &meter)
	defer func() { run.Moved(meter.Moved()) }()
	var done checkpoint
	run.Resume(&done)
	result := done.Result
	result.DryRun = run.Params.DryRun
	if result.Found == nil {
		result.Found = Tally{}
	}
	names, err := c.Shards(ctx, run.Params)
	if err != nil {
		return err
	}
	for i, name := range names {
		if name <= done.After {
			continue
		}
		fraction := float64(i) / float64(len(names))
		note := fmt.Sprintf("shard %d of %d, %s: %s", i+1, len(names), name, result.Found)
		run.Progress(fraction, note)
		if err := c.one(ctx, run, name, &result, func() { run.Progress(fraction, note) }); err != nil {
			return err
		}
		if err := run.Checkpoint(checkpoint{name, result}); err != nil {
			return err
		}
	}
	if run.Params.Whole() {
		swept, err := c.Sweep(ctx, Options{DryRun: run.Params.DryRun, Found: result.example})
		if err != nil {
			return err
		}
		result.Found.Add(swept)
	}
	return run.SetResult(result)
}

// one collects the garbage of one shard. What is wrong with it alone is noted: the others shall not wait for it.
func (c *Collector) one(ctx context.Context, run *task.Run[Params], name string, result *Result, step func()) error {
	found, err := c.Collect(ctx, name, Options{DryRun: run.Params.DryRun, Found: result.example, Step: step})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errPins):
		return err
	}
	result.Add(name, found, err)
	if err != nil {
		run.Log.Error("garbage of a shard is not collected", "shard", name, "error", err)
	}
	return nil
}

// Shards returns the names of those to look at, sorted and each once.
func (c *Collector) Shards(ctx context.Context, p Params) ([]string, error) {
	names := slices.Clone(p.Shards)
	if len(names) == 0 {
		for name, err := range shard.Names(ctx, c.cfg.Store, p.Folder) {
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
