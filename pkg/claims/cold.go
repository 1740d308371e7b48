package claims

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Coldness says what Redis may have forgotten.
type Coldness struct {
	// Buckets that are cold; none: all is warm.
	Buckets []int
	// Since when outcomes may be missing: one minute before the buckets were
	// last touched. Zero when a key is gone: read one Retention back.
	Since time.Time
}

// Cold tells which buckets Redis may have forgotten: it is empty, was
// restarted, failed over, or a rebuild was begun and not ended.
func (s *Store) Cold(ctx context.Context) (Coldness, error) {
	var cold Coldness
	gone := false
	groups := s.bucketGroups(allBuckets())
	replies := s.run(ctx, s.epochCalls(scriptCold, groups)...)
	for g, buckets := range groups {
		texts, err := replies[g].texts(len(buckets))
		if err != nil {
			return Coldness{}, fmt.Errorf("read epochs: %w", err)
		}
		for i, touched := range texts {
			if touched == "" {
				continue
			}
			cold.Buckets = append(cold.Buckets, buckets[i])
			ms, err := strconv.ParseInt(touched, 10, 64)
			if err != nil {
				return Coldness{}, fmt.Errorf("read epochs: %w", err)
			}
			gone = gone || ms == 0
			if at := time.UnixMilli(ms).Add(-coldMargin); cold.Since.IsZero() || at.Before(cold.Since) {
				cold.Since = at
			}
		}
	}
	if gone {
		cold.Since = time.Time{}
	}
	return cold, nil
}

// coldMargin is how long before the last touch an outcome may be that Redis
// lost: beats touch a bucket every few seconds, and its log is synced every one.
const coldMargin = time.Minute

func allBuckets() []int {
	buckets := make([]int, Buckets)
	for b := range buckets {
		buckets[b] = b
	}
	return buckets
}

// bucketGroups are the buckets that one call may name.
func (s *Store) bucketGroups(buckets []int) [][]int {
	if !s.cfg.Cluster {
		return [][]int{buckets}
	}
	groups := make([][]int, len(buckets))
	for i, b := range buckets {
		groups[i] = []int{b}
	}
	return groups
}

func (s *Store) epochCalls(script script, groups [][]int, args ...any) []scriptCall {
	calls := make([]scriptCall, len(groups))
	for g, buckets := range groups {
		calls[g] = scriptCall{script: script, args: args}
		for _, b := range buckets {
			calls[g].keys = append(calls[g].keys, s.keys.epoch(b))
		}
	}
	return calls
}

// MarkCold signs the buckets that are still cold with the nonce of a rebuild.
func (s *Store) MarkCold(ctx context.Context, nonce string, buckets []int) error {
	_, err := s.sumEpochs(ctx, "mark cold buckets", scriptMark, nonce, buckets)
	return err
}

// Warm opens the buckets that still bear the nonce, on the server that bore it
// then, and returns how many.
func (s *Store) Warm(ctx context.Context, nonce string, buckets []int) (int, error) {
	return s.sumEpochs(ctx, "warm buckets", scriptWarm, nonce, buckets)
}

func (s *Store) sumEpochs(ctx context.Context, what string, script script, nonce string, buckets []int) (sum int, err error) {
	if len(buckets) == 0 {
		return 0, nil
	}
	if err := checkName("nonce", nonce); err != nil {
		return 0, err
	}
	for _, b := range buckets {
		if b < 0 || b >= Buckets {
			return 0, fmt.Errorf("%w: bucket %d", ErrInvalid, b)
		}
	}
	for _, r := range s.run(ctx, s.epochCalls(script, s.bucketGroups(buckets), nonce)...) {
		n, err := r.number()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", what, err)
		}
		sum += n
	}
	return sum, nil
}
