package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestJudge(t *testing.T) {
	boom := errors.New("boom")
	first, last := attempts{attempt: 1, max: 3}, attempts{attempt: 3, max: 3}
	policy := task.RetryPolicy{MaxAttempts: 3, Initial: time.Second, Max: time.Minute, Factor: 2}
	for name, c := range map[string]struct {
		err, cause error
		a          attempts
		want       outcome
	}{
		"nil is success":                           {nil, nil, first, outcome{status: task.Success}},
		"nil is success although it was stopped":   {nil, task.ErrDraining, first, outcome{status: task.Success}},
		"nil is success although it was cancelled": {nil, task.ErrCancelled, first, outcome{status: task.Success}},
		"a failure runs again":                     {boom, nil, first, outcome{status: task.Unassigned, delay: time.Second, err: boom}},
		"the second failure waits longer":          {boom, nil, attempts{attempt: 2, max: 3}, outcome{status: task.Unassigned, delay: 2 * time.Second, err: boom}},
		"the last failure is a dead letter":        {boom, nil, last, outcome{status: task.Failed, reason: task.RetriesExhausted, err: boom}},
		"a permanent failure is one at once":       {task.Permanent(boom), nil, first, outcome{status: task.Failed, reason: task.PermanentFailure, err: task.Permanent(boom)}},
		"a cancel request counts over any error":   {task.Permanent(boom), task.ErrCancelled, last, outcome{status: task.Cancelled, err: task.ErrCancelled}},
		"a drain interrupts":                       {context.Canceled, task.ErrDraining, last, outcome{status: task.Unassigned, interrupted: true, err: task.ErrDraining}},
		"a lost lease interrupts":                  {boom, task.ErrLeaseLost, last, outcome{status: task.Unassigned, interrupted: true, err: task.ErrLeaseLost}},
		"an unknown lease interrupts":              {boom, task.ErrLeaseUnknown, last, outcome{status: task.Unassigned, interrupted: true, err: task.ErrLeaseUnknown}},
		"the eleventh interruption counts": {
			context.Canceled, task.ErrDraining,
			attempts{attempt: 1, max: 3, interrupted: maxInterrupted},
			outcome{status: task.Unassigned, delay: time.Second, err: task.ErrDraining},
		},
		"a stall is a failure": {context.Canceled, task.ErrStalled, last, outcome{status: task.Failed, reason: task.RetriesExhausted, err: task.ErrStalled}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, judge(c.err, c.cause, c.a, policy, 0))
		})
	}
}

func TestWaitingKeepsOrderWithinItsHalves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w waiting
		var looked, unlooked []*record // the slow obvious version
		pop := func() *record {
			from := &looked
			if len(looked) == 0 {
				from = &unlooked
			}
			if len(*from) == 0 {
				return nil
			}
			r := (*from)[0]
			*from = (*from)[1:]
			return r
		}
		for range rapid.IntRange(1, 5000).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3, 4:
				r := &record{looked: rapid.Bool().Draw(t, "looked")}
				w.push(r)
				if r.looked {
					looked = append(looked, r)
				} else {
					unlooked = append(unlooked, r)
				}
			case 5, 6, 7, 8:
				if got, want := w.pop(), pop(); got != want {
					t.Fatalf("popped %p, want %p", got, want)
				}
			case 9:
				dropped := rapid.Bool().Draw(t, "dropped")
				w.keep(func(r *record) bool { return r.looked != dropped })
				if dropped {
					looked = nil
				} else {
					unlooked = nil
				}
			}
			if w.len() != len(looked)+len(unlooked) {
				t.Fatalf("holds %d, want %d", w.len(), len(looked)+len(unlooked))
			}
		}
	})
}
