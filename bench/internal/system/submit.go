package system

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

// submitters is how many goroutines submit at a time where tasks go one by one.
const submitters = 16

// oneByOne submits tasks with as many calls as there are tasks.
func oneByOne(ctx context.Context, q Queue, tasks []work.Task) error {
	group, ctx := errgroup.WithContext(ctx)
	var next counter
	for range submitters {
		group.Go(func() error {
			for {
				i := next.add(1) - 1
				if i >= len(tasks) {
					return nil
				}
				if err := q.Submit(ctx, tasks[i]); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

type counter struct{ n atomic.Int64 }

func (c *counter) add(n int) int { return int(c.n.Add(int64(n))) }
func (c *counter) value() int    { return int(c.n.Load()) }
