package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// LetterFilter chooses dead letters; a zero field chooses all.
type LetterFilter struct {
	IDs     []string
	Type    string
	Reasons []task.Reason
	Class   string // of the error
	Since   time.Time
	Until   time.Time
}

func (f *LetterFilter) match(l *kafkaqueue.DeadLetter) bool {
	return (len(f.IDs) == 0 || slices.Contains(f.IDs, l.Delivery.ID)) &&
		(f.Type == "" || f.Type == l.Delivery.Type) &&
		(len(f.Reasons) == 0 || slices.Contains(f.Reasons, l.Letter.Reason)) &&
		(f.Class == "" || f.Class == l.Letter.Class) &&
		(f.Since.IsZero() || !l.At.Before(f.Since)) &&
		(f.Until.IsZero() || l.At.Before(f.Until))
}

// DeadLetters calls each for every letter that matches, from the topic's start
// to its end. A letter stays there until its retention ends, also when its
// task was redriven.
func (c *Client) DeadLetters(ctx context.Context, filter LetterFilter, each func(kafkaqueue.DeadLetter) error) error {
	return kafkaqueue.ReadDeadLetters(ctx, c.cfg.Kafka, func(l kafkaqueue.DeadLetter) error {
		if !filter.match(&l) {
			return nil
		}
		return each(l)
	})
}

// Redriven is what became of one dead letter.
type Redriven struct {
	Letter kafkaqueue.DeadLetter
	ID     string // that it runs under; another one after an id conflict
	Replay int
	Err    error // why it was left alone
}

var (
	// ErrStub: the letter's parameters were too large to be kept.
	ErrStub = errors.New("the letter is a stub: its parameters were too large to keep, submit the task again from its source")
	// ErrRedriven: a later replay of the task is known already.
	ErrRedriven = errors.New("redriven already")
	// ErrUnreadable: the record's headers could not be read.
	ErrUnreadable = errors.New("its headers cannot be read: submit the task again from its source")
)

// Redrive publishes the tasks of all letters that match once more, parameters
// byte for byte, as the next replay with all its attempts. A dry run only
// tells what it would do. Of several letters of one task the newest counts; one
// whose next replay is there already is left alone, so Redrive may be repeated.
func (c *Client) Redrive(ctx context.Context, filter LetterFilter, dryRun bool) ([]Redriven, error) {
	plan, err := c.plan(ctx, filter)
	if err != nil || dryRun {
		return plan, err
	}
	var submissions []task.Submission
	var of []int
	for i := range plan {
		if p := &plan[i]; p.Err == nil {
			submissions, of = append(submissions, resubmission(p)), append(of, i)
		}
	}
	for k, r := range c.SubmitBatch(ctx, submissions) {
		plan[of[k]].Err = r.Err
	}
	return plan, nil
}

// plan decides for each letter that matches.
func (c *Client) plan(ctx context.Context, filter LetterFilter) ([]Redriven, error) {
	var plan []Redriven
	newest := map[string]int{} // of a task's letters, by id
	err := c.DeadLetters(ctx, filter, func(l kafkaqueue.DeadLetter) error {
		p := Redriven{Letter: l, ID: l.Delivery.ID, Replay: l.Delivery.Replay + 1}
		switch {
		case l.Stub:
			p.Err = ErrStub
		case l.Delivery.Err != nil:
			p.Err = fmt.Errorf("%w: %w", ErrUnreadable, l.Delivery.Err)
		case l.Letter.Reason == task.IDConflict:
			p.ID, p.Replay = conflictID(&l), 0
		}
		if i, again := newest[p.ID]; again && p.Err == nil {
			if plan[i].Replay >= p.Replay {
				return nil // a repeat
			}
			plan[i] = p
			return nil
		}
		if p.Err == nil {
			newest[p.ID] = len(plan)
		}
		plan = append(plan, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return plan, c.skipRedriven(ctx, plan)
}

// skipRedriven leaves letters alone whose next replay is known.
func (c *Client) skipRedriven(ctx context.Context, plan []Redriven) error {
	ids := make([]string, len(plan))
	for i := range plan {
		ids[i] = plan[i].ID
	}
	states, err := c.claims.States(ctx, ids)
	if err != nil {
		return fmt.Errorf("states of dead letters: %w", err)
	}
	for i, s := range states {
		if s != nil && plan[i].Err == nil && s.Replay >= plan[i].Replay {
			plan[i].Err = ErrRedriven
		}
	}
	return nil
}

// conflictID is the new id of a task whose own belongs to another: the same
// for the same letter, so that a repeated redrive finds it.
func conflictID(l *kafkaqueue.DeadLetter) string {
	return fmt.Sprintf("redriven-%d-%d", l.Partition, l.Offset)
}

// resubmission is a letter's task as its next replay.
func resubmission(p *Redriven) task.Submission {
	e := p.Letter.Delivery.Envelope
	e.ID, e.Replay, e.Attempt, e.Hop = p.ID, p.Replay, 1, 0
	e.SubmittedAt, e.NotBefore, e.Deadline, e.Checkpoint = time.Now(), time.Time{}, time.Time{}, nil
	return task.Submission{Envelope: e, Params: p.Letter.Delivery.Params}
}
