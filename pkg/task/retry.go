package task

import (
	"fmt"
	"math"
	"time"
)

// RetryPolicy says how often and how fast a failed task runs again.
type RetryPolicy struct {
	MaxAttempts int           // runs that count, the first included
	Initial     time.Duration // delay before the second attempt
	Max         time.Duration // no delay is longer
	Factor      float64       // each delay is the last one times this
	Jitter      float64       // share of the delay that is random, 0 to 1
}

// DefaultRetry is used where a type names no policy: five attempts within
// about ten minutes.
var DefaultRetry = RetryPolicy{MaxAttempts: 5, Initial: 5 * time.Second, Max: 10 * time.Minute, Factor: 4, Jitter: 0.5}

// Validate says what is wrong with the policy.
func (p RetryPolicy) Validate() error {
	switch {
	case p.MaxAttempts < 1:
		return fmt.Errorf("retry policy: %d attempts: 1 at least", p.MaxAttempts)
	case p.Initial < 0 || p.Max < p.Initial:
		return fmt.Errorf("retry policy: the first delay (%s) must lie between 0 and the longest (%s)", p.Initial, p.Max)
	case p.Initial > 0 && !(p.Factor >= 1):
		return fmt.Errorf("retry policy: factor %v: 1 at least", p.Factor)
	case !(p.Jitter >= 0 && p.Jitter <= 1):
		return fmt.Errorf("retry policy: jitter %v: 0 to 1", p.Jitter)
	}
	return nil
}

// Delay is the time between the failure of an attempt (from 1) and the next
// one. random is in [0, 1): the last Jitter share of the delay is multiplied
// by it, so that tasks which failed together do not come back together.
func (p RetryPolicy) Delay(attempt int, random float64) time.Duration {
	if p.Initial <= 0 {
		return 0 // 0 times the infinity that a high power is would be no number
	}
	full := float64(p.Initial) * math.Pow(p.Factor, float64(attempt-1))
	full = min(full, float64(p.Max))
	return time.Duration(full * (1 - p.Jitter + p.Jitter*random))
}
