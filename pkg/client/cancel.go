package client

import (
	"context"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Cancel asks for a task to end. It returns the state that follows: CANCELLED
// when it had not started (its event is published by then), what it was when it
// had ended already, and a running one with CancelRequested set: its worker is
// told with the next beat, and unless it succeeds first, it ends CANCELLED. A
// task of a type that cannot be cancelled runs on.
func (c *Client) Cancel(ctx context.Context, id string) (*claims.State, error) {
	if err := task.ValidateID(id); err != nil {
		return nil, err
	}
	info := claims.Info{Explanation: "cancelled before anything else was known of it"}
	answer, state, err := c.claims.Cancel(ctx, id, info.Encode())
	if err != nil {
		return nil, err
	}
	if answer != claims.CancelSettled {
		return state, nil
	}
	event := state.Event()
	event.Error = task.ErrCancelled.Error()
	if err := c.tell(ctx, event); err != nil {
		return state, fmt.Errorf("cancel %s: it is cancelled, but its event is not acknowledged: cancel it again: %w", id, err)
	}
	mark := claims.Mark{ID: id, Replay: state.Replay, Attempt: state.Attempt, Hop: state.Hop, AllocationID: state.AllocationID, Status: state.Status}
	if err := c.claims.Published(ctx, []claims.Mark{mark}); err != nil {
		c.log.Debug("published mark not written: the event will be repeated", "error", err, "task_id", id)
	}
	return state, nil
}

// tell waits until an event is acknowledged, or ctx ends.
func (c *Client) tell(ctx context.Context, e task.Event) error {
	return c.tellAll(ctx, []*task.Event{&e})[0]
}
