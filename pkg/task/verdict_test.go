package task_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestJudge(t *testing.T) {
	boom := errors.New("boom")
	first, last := task.Tries{Attempt: 1, Max: 3}, task.Tries{Attempt: 3, Max: 3}
	policy := task.RetryPolicy{MaxAttempts: 3, Initial: time.Second, Max: time.Minute, Factor: 2}
	for name, c := range map[string]struct {
		err, cause error
		a          task.Tries
		want       task.Verdict
	}{
		"nil is success":                           {nil, nil, first, task.Verdict{Status: task.Success}},
		"nil is success although it was stopped":   {nil, task.ErrDraining, first, task.Verdict{Status: task.Success}},
		"nil is success although it was cancelled": {nil, task.ErrCancelled, first, task.Verdict{Status: task.Success}},
		"a failure runs again":                     {boom, nil, first, task.Verdict{Status: task.Unassigned, Delay: time.Second, Err: boom}},
		"the second failure waits longer":          {boom, nil, task.Tries{Attempt: 2, Max: 3}, task.Verdict{Status: task.Unassigned, Delay: 2 * time.Second, Err: boom}},
		"the last failure is a dead letter":        {boom, nil, last, task.Verdict{Status: task.Failed, Reason: task.RetriesExhausted, Err: boom}},
		"a permanent failure is one at once":       {task.Permanent(boom), nil, first, task.Verdict{Status: task.Failed, Reason: task.PermanentFailure, Err: task.Permanent(boom)}},
		"a cancel request counts over any error":   {task.Permanent(boom), task.ErrCancelled, last, task.Verdict{Status: task.Cancelled, Err: task.ErrCancelled}},
		"a drain interrupts":                       {context.Canceled, task.ErrDraining, last, task.Verdict{Status: task.Unassigned, Interrupted: true, Err: task.ErrDraining}},
		"a lost lease interrupts":                  {boom, task.ErrLeaseLost, last, task.Verdict{Status: task.Unassigned, Interrupted: true, Err: task.ErrLeaseLost}},
		"an unknown lease interrupts":              {boom, task.ErrLeaseUnknown, last, task.Verdict{Status: task.Unassigned, Interrupted: true, Err: task.ErrLeaseUnknown}},
		"the eleventh interruption counts": {
			context.Canceled, task.ErrDraining,
			task.Tries{Attempt: 1, Max: 3, Interrupted: 10},
			task.Verdict{Status: task.Unassigned, Delay: time.Second, Err: task.ErrDraining},
		},
		"waiting is no attempt":          {fmt.Errorf("plan: %w", task.ErrWaiting), nil, last, task.Verdict{Status: task.Unassigned, Waiting: true, Err: task.ErrWaiting}},
		"waiting, and drained meanwhile": {task.ErrWaiting, task.ErrDraining, last, task.Verdict{Status: task.Unassigned, Waiting: true, Err: task.ErrWaiting}},
		"a stall is a failure":           {context.Canceled, task.ErrStalled, last, task.Verdict{Status: task.Failed, Reason: task.RetriesExhausted, Err: task.ErrStalled}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, task.Judge(c.err, c.cause, c.a, policy, 0))
		})
	}
}
