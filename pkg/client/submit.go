package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// redisTime is how long Submit waits for Redis, before and after Kafka: tasks
// are accepted without it.
const redisTime = 2 * time.Second

// Result is what became of one submission of a batch.
type Result struct {
	ID     string
	Replay int // that it will run as, or ran as
	Err    error
	// Existed tells that the task was there already: nothing was published.
	Existed bool
	// State of a task that existed, as far as it is known.
	State *claims.State
}

// Submit publishes a task and returns its id once all in-sync replicas have
// it. A chosen id or unique key may be submitted again: the task that is there
// counts. Errors: [task.ErrInvalid], [ErrConflict], [ErrSettled] (with the
// id), [ErrUnknown], or Kafka's refusal.
func (c *Client) Submit(ctx context.Context, typ string, params any, options ...task.SubmitOption) (string, error) {
	s, err := task.NewSubmission(typ, params, options...)
	if err != nil {
		return "", err
	}
	r := c.SubmitBatch(ctx, []task.Submission{s})[0]
	if r.Err != nil {
		return r.ID, fmt.Errorf("submit %s %s: %w", typ, r.ID, r.Err)
	}
	return r.ID, nil
}

// SubmitBatch publishes many tasks at once, far faster than one by one, and
// answers for each in its place. Of several with one chosen id the first
// counts, as if they had come one after the other.
func (c *Client) SubmitBatch(ctx context.Context, submissions []task.Submission) []Result {
	submissions = slices.Clone(submissions) // replays are set here
	results := make([]Result, len(submissions))
	todo := make([]int, 0, len(submissions))
	for i := range submissions {
		results[i].ID = submissions[i].ID
		if results[i].Err = c.check(&submissions[i]); results[i].Err == nil {
			todo = append(todo, i)
		}
	}
	todo, twins := firsts(submissions, todo)
	todo = c.known(ctx, submissions, results, todo)
	deliveries, described := make([]task.Delivery, len(todo)), make([]string, len(todo))
	for k, i := range todo {
		described[k] = submissions[i].Describe
		deliveries[k] = task.Delivery{Envelope: submissions[i].Envelope, Params: submissions[i].Params}
	}
	for k, err := range c.publish(ctx, deliveries, described) {
		results[todo[k]].Err, results[todo[k]].Replay = err, deliveries[k].Replay
	}
	for i, first := range twins {
		results[i] = twinResult(&submissions[i], &submissions[first], results[first])
	}
	return results
}

// firsts leaves out what has the chosen id of a submission before it: twins
// tells which.
func firsts(submissions []task.Submission, todo []int) (rest []int, twins map[int]int) {
	place := map[string]int{}
	rest = todo[:0]
	for _, i := range todo {
		s := &submissions[i]
		if first, again := place[s.ID]; again && s.Chosen {
			if twins == nil {
				twins = map[int]int{}
			}
			twins[i] = first
			continue
		}
		place[s.ID] = i
		rest = append(rest, i)
	}
	return rest, twins
}

// twinResult answers for a submission by what became of the first one.
func twinResult(s, first *task.Submission, of Result) Result {
	switch {
	case !s.Unique && task.Hash(s.Params) != task.Hash(first.Params):
		of.Err = ErrConflict
	case of.Err == nil:
		of.Existed = true
	}
	return of
}

// publish hands tasks to Kafka, notes in Redis those that it accepted, and
// answers for each. described says what they do, where it is known.
func (c *Client) publish(ctx context.Context, tasks []task.Delivery, described []string) []error {
	errs := make([]error, len(tasks))
	if len(tasks) == 0 {
		return errs
	}
	limited, cancel := context.WithTimeout(ctx, c.cfg.Timeout) // the sooner of the two ends it
	defer cancel()
	ends := make([]func(error), len(tasks))
	for i := range tasks {
		ends[i] = c.trace(ctx, &tasks[i])
	}
	copy(errs, c.producer.Submit(limited, tasks)) // nil: all are accepted
	c.note(ctx, tasks, described, errs)
	for i, end := range ends {
		end(errs[i])
	}
	return errs
}

// check asks the type's own code about the parameters, where it is here.
func (c *Client) check(s *task.Submission) error {
	if c.cfg.Workers == nil {
		return nil
	}
	if d := c.cfg.Workers.Lookup(s.Type); d != nil && d.Check != nil {
		return d.Check(s.Params)
	}
	return nil
}

// known answers for chosen ids whose task is there already, and returns the
// submissions that remain. A state exists only when Kafka has the task; when
// Redis does not answer, publishing again does no harm.
func (c *Client) known(ctx context.Context, submissions []task.Submission, results []Result, todo []int) []int {
	var ids []string
	var of []int
	for _, i := range todo {
		if submissions[i].Chosen {
			ids, of = append(ids, submissions[i].ID), append(of, i)
		}
	}
	if len(ids) == 0 {
		return todo
	}
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	states, err := c.claims.States(ctx, ids)
	if err != nil {
		c.log.Warn("submitting without asking whether the task is there", "error", err)
		return todo
	}
	existing := map[int]*claims.State{}
	for k, i := range of {
		if states[k] != nil {
			existing[i] = states[k]
		}
	}
	rest := todo[:0]
	for _, i := range todo {
		if s := existing[i]; s == nil || !c.exists(&submissions[i], &results[i], s) {
			rest = append(rest, i)
		}
	}
	return rest
}

// exists answers for a task that is there, or prepares it to run once more.
func (c *Client) exists(s *task.Submission, r *Result, known *claims.State) bool {
	switch ended := known.Status.Terminal(); {
	case s.Unique && ended && s.Again:
		s.Replay = known.Replay + 1
		return false
	case s.Unique && ended:
		r.Err = ErrSettled
	case !s.Unique && known.ParamsHash != 0 && known.ParamsHash != task.Hash(s.Params):
		r.Err = ErrConflict
	}
	r.Existed, r.State, r.Replay = true, known, known.Replay
	return true
}

// note creates the states of accepted tasks. Kafka has them, so an error here
// is none of the caller's: whoever claims the task creates its state.
func (c *Client) note(ctx context.Context, tasks []task.Delivery, described []string, errs []error) {
	var notes []claims.Submission
	var of []int
	for i := range tasks {
		if errs[i] == nil {
			describe := ""
			if i < len(described) {
				describe = described[i]
			}
			notes, of = append(notes, c.noteOf(&tasks[i], describe)), append(of, i)
		}
	}
	// Whatever ended ctx, the tasks are there: one more call tells so.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTime)
	defer cancel()
	answers, err := c.claims.Submit(ctx, notes)
	if err != nil {
		c.log.Debug("states not created: the first claims will", "error", err, "tasks", len(notes))
		return
	}
	for k, i := range of {
		if answers[k].Verdict == claims.Conflicts {
			errs[i] = ErrConflict
		}
	}
}

func (c *Client) noteOf(d *task.Delivery, describe string) claims.Submission {
	info := claims.Info{
		Type: d.Type, SubmittedAt: d.SubmittedAt, OpaqueID: d.OpaqueID,
		MaxAttempts: d.MaxAttempts, Deadline: d.Deadline, Explanation: waitsFor(d), Describe: describe,
	}
	if describe == "" && c.cfg.Workers != nil {
		if def := c.cfg.Workers.Lookup(d.Type); def != nil && def.Describe != nil {
			info.Describe = def.Describe(d.Params)
		}
	}
	return claims.Submission{ID: d.ID, Replay: d.Replay, ParamsHash: task.Hash(d.Params), NotBefore: d.NotBefore, Info: info.Encode()}
}

func waitsFor(d *task.Delivery) string {
	if d.NotBefore.IsZero() {
		return "waits for a node"
	}
	return "waits until " + d.NotBefore.UTC().Format("2006-01-02 15:04:05Z")
}

// Invalid tells whether an error of Submit cannot heal by submitting again.
func Invalid(err error) bool {
	return errors.Is(err, task.ErrInvalid) || errors.Is(err, ErrConflict)
}
