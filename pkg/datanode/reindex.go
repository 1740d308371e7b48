package datanode

import (
	"context"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Reindex submits a reindex of the shard, which is the source whatever p says, and returns the ID of its task: offline
// nodes run it. When it is in place, the node follows the switch as it follows every other generation. ErrInvalid says
// what is wrong with p, ErrNoQueue that the task was not accepted, or ErrUnknown beside it that it may have been.
func (sh *Shard) Reindex(ctx context.Context, p reindex.Params) (id string, err error) {
	p.Source = sh.name
	if p.Target == "" {
		p.Target = sh.name
	}
	if err := p.Validate(); err != nil {
		return "", fmt.Errorf("%w: reindex shard %s: %w", ErrInvalid, sh.name, err)
	}
	if sh.node.cfg.Queue == nil {
		return "", fmt.Errorf("reindex shard %s: %w: none is configured", sh.name, ErrNoQueue)
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	id = task.NewID()
	if err := sh.node.cfg.Queue.Submit(asking, id, reindex.Type, p); err != nil {
		return "", fmt.Errorf("reindex shard %s, task %s: %w: %w", sh.name, id, ErrNoQueue, err)
	}
	return id, nil
}
