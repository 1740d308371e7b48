package task_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestDelaysOfTheDefaultPolicy(t *testing.T) {
	var shortest, longest time.Duration
	for attempt, want := range map[int]time.Duration{1: 5 * time.Second, 2: 20 * time.Second, 3: 80 * time.Second, 4: 320 * time.Second, 5: 10 * time.Minute} {
		require.Equal(t, want/2, task.DefaultRetry.Delay(attempt, 0))
		require.InDelta(t, float64(want), float64(task.DefaultRetry.Delay(attempt, 1)), 1)
		if attempt < task.DefaultRetry.MaxAttempts {
			shortest, longest = shortest+want/2, longest+want
		}
	}
	require.Less(t, longest, 10*time.Minute)
	require.Greater(t, shortest, 3*time.Minute)
	require.NoError(t, task.DefaultRetry.Validate())
}

func policies(t *rapid.T) task.RetryPolicy {
	initial := rapid.Int64Range(0, int64(time.Hour)).Draw(t, "initial")
	return task.RetryPolicy{
		MaxAttempts: rapid.IntRange(1, 10000).Draw(t, "attempts"),
		Initial:     time.Duration(initial),
		Max:         time.Duration(rapid.Int64Range(initial, int64(1000*time.Hour)).Draw(t, "max")),
		Factor:      rapid.Float64Range(1, 100).Draw(t, "factor"),
		Jitter:      rapid.Float64Range(0, 1).Draw(t, "jitter"),
	}
}

func TestEveryDelayOfAValidPolicyIsWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies(t)
		require.NoError(t, p.Validate())
		attempt := rapid.IntRange(1, p.MaxAttempts).Draw(t, "attempt")
		random := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "random")

		d := p.Delay(attempt, random)
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.LessOrEqual(t, d, p.Max)
		require.GreaterOrEqual(t, d, p.Delay(attempt, 0), "randomness only makes it longer")
		require.GreaterOrEqual(t, p.Delay(attempt+1, random), d, "a later attempt waits no less")
		if p.Jitter == 0 {
			require.Equal(t, p.Delay(attempt, 0), d)
		}
	})
}

func TestPoliciesThatMakeNoSense(t *testing.T) {
	good := task.DefaultRetry
	for name, change := range map[string]func(*task.RetryPolicy){
		"no attempt":           func(p *task.RetryPolicy) { p.MaxAttempts = 0 },
		"negative delay":       func(p *task.RetryPolicy) { p.Initial = -1 },
		"no longest delay":     func(p *task.RetryPolicy) { p.Max = 0 },
		"first above longest":  func(p *task.RetryPolicy) { p.Initial = p.Max + 1 },
		"falling delays":       func(p *task.RetryPolicy) { p.Factor = 0.5 },
		"no factor":            func(p *task.RetryPolicy) { p.Factor = 0 },
		"a factor, no number":  func(p *task.RetryPolicy) { p.Factor = math.NaN() },
		"jitter above all":     func(p *task.RetryPolicy) { p.Jitter = 1.1 },
		"jitter below nothing": func(p *task.RetryPolicy) { p.Jitter = -0.1 },
		"jitter, no number":    func(p *task.RetryPolicy) { p.Jitter = math.NaN() },
	} {
		p := good
		change(&p)
		require.Error(t, p.Validate(), name)
	}
	require.NoError(t, task.RetryPolicy{MaxAttempts: 3}.Validate(), "again at once")
	require.Zero(t, task.RetryPolicy{MaxAttempts: 3, Factor: 4}.Delay(2000, 0.5))
}
