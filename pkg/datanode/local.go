package datanode

import (
	"context"
	"errors"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// errMergeOver ends a local run whose merge has ended otherwise.
var errMergeOver = errors.New("the merge has ended already")

// startLocal runs a merge here, in the code that offline nodes run, as soon as the node has a slot free.
func (sh *Shard) startLocal(ctx context.Context, t *tracked) {
	ctx, stop := context.WithCancelCause(ctx)
	allocation := time.Now().UnixMilli() // as the queue counts them: later ones are higher
	sh.merges.update(t, func(t *tracked) {
		t.stop = func() { stop(errMergeOver) }
		t.allocation = allocation
		t.localEnded, t.localErr = false, nil
	})
	sh.running.Go(func() {
		defer stop(nil)
		err := sh.runLocal(ctx, t, allocation)
		sh.merges.update(t, func(t *tracked) { t.localEnded, t.localErr = true, err })
		poke(sh.replan)
	})
}

func (sh *Shard) runLocal(ctx context.Context, t *tracked, allocation int64) error {
	if err := sh.node.slots.take(ctx); err != nil {
		return err
	}
	defer sh.node.slots.give()
	raw, err := task.Encode(t.params)
	if err != nil {
		return err
	}
	x := task.NewExecution(task.Envelope{ID: t.ID, Type: merge.Type, Attempt: 1}, raw, allocation, nil, sh.log)
	sh.merges.update(t, func(t *tracked) {
		t.execution, t.Status, t.StartedAt, t.Attempt = x, Running, time.Now().UTC(), 1
	})
	return sh.node.merger.Do(ctx, x)
}
