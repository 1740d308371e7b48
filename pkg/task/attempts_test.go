package task_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// slowDelay is the longest a policy lets an attempt wait, as one would compute it on a blackboard.
func slowDelay(p task.RetryPolicy, attempt int) float64 {
	d := float64(p.Initial)
	for range attempt - 1 {
		if d *= p.Factor; d >= float64(p.Max) {
			break
		}
	}
	return min(d, float64(p.Max))
}

// TestATasksAttempts judges the runs of one task, however each of them ends; what has ended is redriven.
func TestATasksAttempts(t *testing.T) {
	boom := errors.New("boom")
	rapid.Check(t, func(t *rapid.T) {
		policy := policies(t)
		tries := task.Tries{Attempt: 1, Max: rapid.IntRange(1, 8).Draw(t, "attempts of this task")}
		attempts, cut := 0, 0 // the slow model: runs that counted, and those of this attempt that did not
		var longest float64
		ended := false

		judge := func(t *rapid.T, err, cause error) task.Verdict {
			if ended {
				attempts, cut, longest = 0, 0, 0
				tries.Attempt, tries.Interrupted = 1, 0
			}
			random := rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, math.Nextafter(1, 0))).Draw(t, "random")
			v := task.Judge(err, cause, tries, policy, random)
			ended = v.Status.Terminal()
			return v
		}
		// counted wants the next attempt after a delay within its bounds, or the end.
		counted := func(t *rapid.T, v task.Verdict) {
			attempts++
			cut = 0
			if attempts == tries.Max {
				if v.Status != task.Failed || v.Reason != task.RetriesExhausted {
					t.Fatalf("%+v after all of %d attempts", v, attempts)
				}
				return
			}
			if v.Status != task.Unassigned || v.Interrupted || v.Waiting || v.Reason != "" {
				t.Fatalf("%+v after %d of %d attempts", v, attempts, tries.Max)
			}
			full := slowDelay(policy, attempts)
			least, most := full*(1-policy.Jitter), full
			if d, slack := float64(v.Delay), full/1e9+1; d < least-slack || d > most+slack || v.Delay > policy.Max {
				t.Fatalf("attempt %d waits %s, not between %s and %s", attempts+1, v.Delay, time.Duration(least), time.Duration(most))
			}
			if full < longest {
				t.Fatalf("attempt %d may wait %s, the one before could %s", attempts+1, time.Duration(full), time.Duration(longest))
			}
			longest = full
			tries.Attempt, tries.Interrupted = tries.Attempt+1, 0
		}
		end := func(t *rapid.T, v task.Verdict, status task.Status, reason task.Reason) {
			if v.Status != status || v.Reason != reason || v.Delay != 0 {
				t.Fatalf("%+v, want %s %q", v, status, reason)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"fails":  func(t *rapid.T) { counted(t, judge(t, boom, nil)) },
			"stalls": func(t *rapid.T) { counted(t, judge(t, context.Canceled, task.ErrStalled)) },
			"interrupted": func(t *rapid.T) {
				cause := rapid.SampledFrom([]error{task.ErrDraining, task.ErrLeaseLost, task.ErrLeaseUnknown}).Draw(t, "cause")
				for range rapid.IntRange(1, 11).Draw(t, "times") {
					v := judge(t, context.Canceled, cause)
					if cut == 10 { // the eleventh counts: no node can keep it for long enough
						counted(t, v)
						return
					}
					cut++
					if v.Status != task.Unassigned || !v.Interrupted || v.Delay != 0 {
						t.Fatalf("interruption %d: %+v", cut, v)
					}
					tries.Interrupted++
				}
			},
			"waits for its children": func(t *rapid.T) {
				cause := rapid.SampledFrom([]error{nil, task.ErrDraining}).Draw(t, "cause")
				if v := judge(t, task.ErrWaiting, cause); v.Status != task.Unassigned || !v.Waiting || v.Interrupted || v.Delay != 0 {
					t.Fatalf("%+v", v)
				}
			},
			"fails for good": func(t *rapid.T) { end(t, judge(t, task.Permanent(boom), nil), task.Failed, task.PermanentFailure) },
			"is cancelled":   func(t *rapid.T) { end(t, judge(t, context.Canceled, task.ErrCancelled), task.Cancelled, "") },
			"succeeds": func(t *rapid.T) {
				cause := rapid.SampledFrom([]error{nil, task.ErrDraining, task.ErrCancelled, task.ErrStalled}).Draw(t, "cause")
				end(t, judge(t, nil, cause), task.Success, "")
			},
		})
	})
}
