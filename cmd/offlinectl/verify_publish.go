package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/probe"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// publisher publishes the tasks of a run.
type publisher struct {
	*verification

	life    context.Context //nolint:containedctx // outlives the pace: answers are waited for until the run ends
	free    chan struct{}   // a place for each batch on its way
	batches sync.WaitGroup
}

// pace publishes at the rate until all tasks are on their way, ctx ends, or Kafka refuses the first ones for good.
func (p *publisher) pace(ctx context.Context) {
	total := p.tasks
	if total == 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(p.duration))
		defer cancel()
		ctx = limited
		total = max(int(p.rate*time.Duration(p.duration).Seconds()), 1)
	}
	tick := time.NewTicker(max(time.Duration(float64(time.Second)/p.rate), 20*time.Millisecond))
	defer tick.Stop()
	began, sent := p.std.Now(), 0
	for sent < total {
		due := min(int(p.std.Now().Sub(began).Seconds()*p.rate)+1, total)
		if due > sent {
			select {
			case <-ctx.Done():
				return
			case p.free <- struct{}{}:
			}
			// After a time without Kafka there are many: they go out in batches of one second's at most.
			due = min(due, sent+max(int(p.rate), 1))
			p.send(sent, due)
			sent = due
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if p.ledger.hopeless() {
			return
		}
	}
}

// send publishes the tasks from one number to before another.
func (p *publisher) send(from, to int) {
	submissions := make([]task.Submission, 0, to-from)
	for n := from; n < to; n++ {
		params := probe.Params{For: probe.Duration(p.work)}
		if rand.Float64() < p.failing {
			params.Fail = 1
		}
		id := fmt.Sprintf("%s-%d", p.id, n)
		s, err := task.NewSubmission(probe.Type, params, task.ID(id))
		p.ledger.published(id)
		if err != nil {
			p.ledger.refused(id, err)
			continue
		}
		submissions = append(submissions, s)
	}
	p.batches.Go(func() {
		defer func() { <-p.free }()
		p.insist(submissions)
	})
}

// insist submits tasks until Kafka has answered for each.
func (p *publisher) insist(submissions []task.Submission) {
	for len(submissions) > 0 {
		var open []task.Submission
		for i, r := range p.client.SubmitBatch(p.life, submissions) {
			switch {
			case r.Err == nil:
				p.ledger.accepted(r.ID, p.std.Now())
			case errors.Is(r.Err, client.ErrUnknown) || p.life.Err() != nil:
				open = append(open, submissions[i])
			default:
				p.ledger.refused(r.ID, r.Err)
			}
		}
		submissions = open
		select {
		case <-p.life.Done():
			return
		case <-time.After(unknownFor):
		}
	}
}

// explained is an error with what to do about it.
func explained(err error) string {
	return cli.CleanLines(cli.Explain(err))
}
