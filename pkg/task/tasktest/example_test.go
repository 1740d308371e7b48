package tasktest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
)

// A worker that copies pages and keeps its place, run twice: the first run is
// drained in the middle, the second one does the rest.
func Example() {
	type Copy struct{ Pages int }

	mux := task.NewMux()
	task.Handle(mux, "pages.copy", func(ctx context.Context, run *task.Run[Copy]) error {
		var page int
		run.Resume(&page)
		for ; page < run.Params.Pages; page++ {
			if page == 3 && run.AllocationID == 1 { // a page that takes long
				<-ctx.Done()
				return ctx.Err()
			}
			if err := run.Checkpoint(page + 1); err != nil {
				return err
			}
		}
		return run.SetResult(page)
	})

	ctx := context.Background()
	half := func(r task.Report) bool { return r.Checkpointed == 3 }
	first := tasktest.Run(ctx, mux, "pages.copy", Copy{Pages: 5}, tasktest.StopWhen(half, task.ErrDraining))
	fmt.Println(first.Outcome, errors.Is(first.Cause, task.ErrDraining), string(first.Report.Checkpoint))

	second := first.Again(ctx)
	fmt.Println(second.Outcome, second.Report.Checkpointed, string(second.Report.Result))
	// Output:
	// interrupted true 3
	// success 2 5
}
