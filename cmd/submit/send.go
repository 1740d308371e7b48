package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Bounds of one batch: large enough that round trips do not matter.
const (
	batchTasks = 1000
	batchBytes = 8 << 20
)

// sender publishes what a source has, and follows it.
type sender struct {
	report *report
	client *client.Client
}

// read is what came of reading the source once.
type read struct {
	item item
	err  error
}

// send publishes everything. What gathers while a batch is under way is the
// next one: so a slow source is passed on line by line, and a fast one in
// large batches. The error is that of the source, or ctx's.
func (s *sender) send(ctx context.Context, from source) error {
	items := make(chan read, batchTasks)
	go func() { // nobody waits for it: a read from a terminal cannot be ended
		defer close(items)
		for {
			i, err := from.next()
			select {
			case items <- read{i, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		batch, err := s.gather(ctx, items)
		s.publish(ctx, batch)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return s.report.interrupted(err)
		}
	}
}

// gather takes what is there, one item at least.
func (s *sender) gather(ctx context.Context, items <-chan read) (batch []item, err error) {
	bytes := 0
	take := func(r read) bool {
		if err = r.err; err != nil {
			return false
		}
		batch = append(batch, r.item)
		bytes += len(r.item.submission.Params)
		return len(batch) < batchTasks && bytes < batchBytes
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r, open := <-items:
		if !open {
			return nil, context.Cause(ctx)
		}
		if !take(r) {
			return batch, err
		}
	}
	for {
		select {
		case r, open := <-items:
			if !open {
				return batch, context.Cause(ctx)
			}
			if !take(r) {
				return batch, err
			}
		default:
			return batch, nil
		}
	}
}

// publish submits the good items of a batch and reports on all.
func (s *sender) publish(ctx context.Context, batch []item) {
	submissions := make([]task.Submission, 0, len(batch))
	for i := range batch {
		if batch[i].err == nil {
			submissions = append(submissions, batch[i].submission)
		}
	}
	results := s.client.SubmitBatch(ctx, submissions)
	for i := range batch {
		if batch[i].err != nil {
			s.report.invalid(s.report.options.file, &batch[i])
			continue
		}
		s.report.answered(&batch[i], results[0])
		results = results[1:]
	}
	s.report.sending()
}

// await follows the tasks that are there until they have ended, ctx ends, or
// the timeout is over.
func (s *sender) await(ctx context.Context, std *cli.IO, timeout time.Duration) {
	if timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		ctx = limited
	}
	awaited := make([]client.Awaited, len(s.report.there))
	for i, t := range s.report.there {
		awaited[i] = client.Awaited{ID: t.id, Replay: t.replay}
	}
	following, err := cli.Follow(ctx, std, s.client, awaited, s.report.changed)
	if err != nil {
		s.report.detached(following, err)
	}
}
