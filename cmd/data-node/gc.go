package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// collect submits a garbage collection, or finds the one with the same parameters that runs, and returns its id.
func (q *queue) collect(ctx context.Context, p remotegc.Params) (id string, err error) {
	s, err := remotegc.Submission(p)
	if err != nil {
		return "", fmt.Errorf("%w: %w", datanode.ErrInvalid, err)
	}
	c, err := q.connect(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: %w", datanode.ErrNoQueue, err)
	}
	if err := c.Ensure(ctx, remotegc.Type); err != nil {
		return "", fmt.Errorf("%w: topics of %s: %w", datanode.ErrNoQueue, remotegc.Type, err)
	}
	result := c.SubmitBatch(ctx, []task.Submission{s})[0]
	switch {
	case errors.Is(result.Err, client.ErrUnknown):
		return "", fmt.Errorf("%w: %w", datanode.ErrUnknown, result.Err)
	case result.Err != nil:
		return "", fmt.Errorf("%w: %w", datanode.ErrNoQueue, result.Err)
	}
	return result.ID, nil
}
