package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Redriven is what became of one dead letter.
type Redriven struct {
	Letter kafkaqueue.DeadLetter // without the parameters
	ID     string                // that it runs under; another one after an id conflict
	Replay int
	Err    error // why it was left alone
}

// Why a letter is left alone.
var (
	// ErrStub: the letter's parameters were too large to be kept.
	ErrStub = errors.New("the letter is a stub: its parameters were too large to keep, submit the task again from its source")
	// ErrRedriven: a later replay of the task is known already.
	ErrRedriven = errors.New("redriven already")
	// ErrUnreadable: the record's headers could not be read.
	ErrUnreadable = errors.New("its headers cannot be read: submit the task again from its source")
	// ErrExpired: retention took the letter before it could be redriven.
	ErrExpired = errors.New("the letter's retention ended meanwhile")
)

// Redrive publishes the tasks of all letters that match once more, parameters
// byte for byte, as the next replay with all its attempts. A dry run only
// tells what it would do. The answer is ordered by when tasks were given up.
//
// Of several letters of one task the newest counts. One whose next replay is
// known, in Redis or on the results topic, is left alone, so Redrive may be
// repeated for as long as the results topic keeps outcomes.
func (c *Client) Redrive(ctx context.Context, filter LetterFilter, dryRun bool) ([]Redriven, error) {
	plan, err := c.plan(ctx, filter)
	if err != nil || dryRun {
		return plan, err
	}
	return plan, c.redrive(ctx, plan)
}

// plan decides for each letter that matches. It keeps no parameters: they may
// be more than memory holds.
func (c *Client) plan(ctx context.Context, filter LetterFilter) ([]Redriven, error) {
	var plan []Redriven
	newest := map[string]int{} // of a task's letters, by id
	err := c.DeadLetters(ctx, filter, func(l kafkaqueue.DeadLetter) error {
		p := planned(l)
		switch i, again := newest[p.ID]; {
		case p.Err != nil:
			plan = append(plan, p)
		case !again:
			newest[p.ID] = len(plan)
			plan = append(plan, p)
		case p.Replay > plan[i].Replay:
			plan[i] = p
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(plan, func(a, b Redriven) int {
		return cmp.Or(a.Letter.At.Compare(b.Letter.At), cmp.Compare(a.Letter.Offset, b.Letter.Offset))
	})
	return plan, c.skipRedriven(ctx, plan)
}

func planned(l kafkaqueue.DeadLetter) Redriven {
	p := Redriven{Letter: light(l), ID: l.Delivery.ID, Replay: l.Delivery.Replay + 1}
	switch {
	case l.Stub:
		p.Err = ErrStub
	case l.Delivery.Err != nil:
		p.Err = fmt.Errorf("%w: %w", ErrUnreadable, l.Delivery.Err)
	case l.Letter.Reason == task.IDConflict:
		p.ID, p.Replay = conflictID(&l), 0
	}
	return p
}

// light is a letter without its parameters, and without what would keep them
// in memory.
func light(l kafkaqueue.DeadLetter) kafkaqueue.DeadLetter {
	l.Delivery.Params, l.Delivery.Checkpoint, l.Delivery.Ref = nil, nil, nil
	for _, text := range []*string{
		&l.Delivery.ID, &l.Delivery.Type, &l.Delivery.ContentType, &l.Delivery.OpaqueID,
		&l.Delivery.TraceParent, &l.Delivery.TraceState, &l.Delivery.First.Topic, &l.Delivery.Origin.Topic,
		&l.Letter.Class, &l.Letter.Message, &l.Letter.Node, &l.SHA256,
	} {
		*text = strings.Clone(*text)
	}
	l.Letter.Reason = task.Reason(strings.Clone(string(l.Letter.Reason)))
	return l
}

// conflictID is the new id of a task whose own belongs to another: the same
// for the same letter, so that a repeated redrive finds it.
func conflictID(l *kafkaqueue.DeadLetter) string {
	return fmt.Sprintf("redriven-%d-%d-%d", l.Partition, l.Offset, l.At.UnixMilli())
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
	forgotten := map[string]int{} // of which Redis knows nothing any more
	for i, s := range states {
		switch {
		case plan[i].Err != nil:
		case s == nil:
			forgotten[plan[i].ID] = i
		case s.Replay >= plan[i].Replay:
			plan[i].Err = ErrRedriven
		}
	}
	return c.skipEnded(ctx, plan, forgotten)
}

// skipEnded looks for the replays of tasks on the results topic: it remembers
// outcomes for longer than Redis does.
func (c *Client) skipEnded(ctx context.Context, plan []Redriven, forgotten map[string]int) error {
	if len(forgotten) == 0 {
		return nil
	}
	var since time.Time
	for _, i := range forgotten {
		if at := plan[i].Letter.At; since.IsZero() || at.Before(since) {
			since = at
		}
	}
	err := kafkaqueue.ReadResults(ctx, c.cfg.Kafka, since, func(e task.Event) error {
		if i, ours := forgotten[e.TaskID]; ours && e.Replay >= plan[i].Replay {
			plan[i].Err = ErrRedriven
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("outcomes of dead letters: %w", err)
	}
	return nil
}

// Bounds of one batch of a redrive.
const (
	redriveTasks = 256
	redriveBytes = 8 << 20
)

// letterPlace is where a letter is on its topic.
type letterPlace struct {
	partition int32
	offset    int64
}

// redrive reads the letters that are planned once more and publishes their
// tasks.
func (c *Client) redrive(ctx context.Context, plan []Redriven) error {
	todo := map[letterPlace]*Redriven{}
	for i := range plan {
		if p := &plan[i]; p.Err == nil {
			p.Err = ErrExpired // until it is found
			todo[letterPlace{p.Letter.Partition, p.Letter.Offset}] = p
		}
	}
	if len(todo) == 0 {
		return nil
	}
	b := redriveBatch{client: c}
	err := kafkaqueue.ReadDeadLetters(ctx, c.cfg.Kafka, func(l kafkaqueue.DeadLetter) error {
		p := todo[letterPlace{l.Partition, l.Offset}]
		if p == nil {
			return nil
		}
		return b.add(ctx, p, &l)
	})
	if err = errors.Join(err, b.publish(ctx)); err != nil {
		for _, p := range todo { // what was not reached
			if errors.Is(p.Err, ErrExpired) {
				p.Err = err
			}
		}
	}
	return err
}

// redriveBatch gathers tasks, so that they are published together.
type redriveBatch struct {
	client   *Client
	outcomes []*task.Event // that the letters tell of; nil for those that have none
	tasks    []task.Delivery
	of       []*Redriven
	bytes    int
}

func (b *redriveBatch) add(ctx context.Context, p *Redriven, l *kafkaqueue.DeadLetter) error {
	b.outcomes = append(b.outcomes, outcomeOf(l))
	b.tasks = append(b.tasks, replayed(p, l))
	b.of = append(b.of, p)
	b.bytes += len(l.Delivery.Params)
	if len(b.of) < redriveTasks && b.bytes < redriveBytes {
		return nil
	}
	return b.publish(ctx)
}

// publish tells each letter what became of it; the error is ctx's.
//
// The outcome goes before the replay: its own publisher may have died between
// letter and event, and once a newer replay runs, nobody owes that event any more if Redis
// forgets the state that says so.
func (b *redriveBatch) publish(ctx context.Context) error {
	if len(b.of) == 0 {
		return nil
	}
	var told []task.Delivery
	var of []*Redriven
	for k, err := range b.client.tellAll(ctx, b.outcomes) {
		if b.of[k].Err = err; err == nil {
			told, of = append(told, b.tasks[k]), append(of, b.of[k])
		}
	}
	for k, err := range b.client.publish(ctx, told, nil) {
		of[k].Err = err
	}
	*b = redriveBatch{client: b.client}
	return ctx.Err()
}

// tellAll publishes events and answers for each; nil ones need none.
func (c *Client) tellAll(ctx context.Context, events []*task.Event) []error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	answers := make([]chan error, len(events))
	for i, e := range events {
		if e == nil {
			continue
		}
		answers[i] = make(chan error, 1)
		c.producer.Event(*e, func(err error) { answers[i] <- err }) //nolint:contextcheck // whatever ends ctx, the event goes out
	}
	errs := make([]error, len(events))
	for i, e := range events {
		if e == nil {
			continue
		}
		select {
		case errs[i] = <-answers[i]:
		case <-ctx.Done():
			errs[i] = fmt.Errorf("%w: event of task %s: %w", ErrUnknown, e.TaskID, context.Cause(ctx))
		}
	}
	return errs
}

// outcomeOf is the event that goes with a letter; nil for a record that was
// set aside because its id is another task's.
func outcomeOf(l *kafkaqueue.DeadLetter) *task.Event {
	if l.Letter.Reason == task.IDConflict {
		return nil
	}
	d := &l.Delivery
	return &task.Event{
		TaskID: d.ID, Type: d.Type, Status: task.Failed, Replay: d.Replay, Attempt: max(d.Attempt, 1), Parent: task.Parent(d.ID),
		Node: l.Letter.Node, SubmittedAt: d.SubmittedAt, CompletedAt: l.Letter.LastFailure, Error: l.Letter.Message, Reason: l.Letter.Reason,
		OpaqueID: d.OpaqueID, TraceParent: d.TraceParent, TraceState: d.TraceState, Repeat: true,
	}
}

// replayed is a letter's task as its next replay, with whatever headers others
// gave it.
func replayed(p *Redriven, l *kafkaqueue.DeadLetter) task.Delivery {
	d := l.Delivery
	d.ID, d.Replay, d.Attempt, d.Hop = p.ID, p.Replay, 1, 0
	d.SubmittedAt, d.NotBefore, d.Deadline, d.Checkpoint = time.Now(), time.Time{}, time.Time{}, nil
	return d
}
