package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// searchEvery is the pace of one searcher, as long as it can rest most of the time.
	searchEvery = 50 * time.Millisecond
	// searchTimeout is after how long a search counts as failed.
	searchTimeout = 10 * time.Second
	searchers     = 2
)

// searcher searches all the time and compares what it finds with what it must.
type searcher struct {
	node     *dataNode
	meter    *meter
	searches []search
	seed     uint64
}

func (s *searcher) run(ctx context.Context, stop <-chan struct{}) error {
	random := rand.New(rand.NewPCG(s.seed, 6))
	rest := searchEvery
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-stop:
			return nil
		case <-time.After(rest):
		}
		began := time.Now()
		s.search(ctx, s.searches[random.IntN(len(s.searches))])
		took := time.Since(began)
		rest = max(searchEvery-took, 2*took)
	}
}

func (s *searcher) search(ctx context.Context, q search) {
	limited, cancel := context.WithTimeoutCause(ctx, searchTimeout, errSlowSearch)
	defer cancel()
	began := time.Now()
	f, err := s.node.search(limited, q.body)
	took := time.Since(began)
	switch {
	case ctx.Err() != nil: // the demo ends: no fault of the search
	case err != nil:
		s.meter.searchFailed(fmt.Errorf("%s: %w", q.kind, err))
	default:
		s.meter.searched(took)
		if q.want == nil {
			return
		}
		if what := q.want.differs(answerOf(f)); what != "" {
			s.meter.searchWrong(fmt.Errorf("%s in generation %d: %s", q.kind, f.Generation, what))
		}
	}
}

var errSlowSearch = errors.New("no answer in time")
