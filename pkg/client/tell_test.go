package client

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Letters of an id that another task has tell of no outcome: a redrive that is
// cut off has nothing to say about them.
func TestWhatHasNoOutcomeNeedsNoAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &Client{cfg: Config{Timeout: time.Second}}
	require.Equal(t, make([]error, 64), c.tellAll(ctx, make([]*task.Event, 64)))
}
