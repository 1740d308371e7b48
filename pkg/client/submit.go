package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Result is what became of one submission of a batch.
type Result struct {
	ID  string
	Err error
	// Existed tells that the task was there already: nothing was published.
	Existed bool
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
// answers for each in its place.
func (c *Client) SubmitBatch(ctx context.Context, submissions []task.Submission) []Result {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout) // the sooner of the two ends it
	defer cancel()
	results := make([]Result, len(submissions))
	todo := make([]int, 0, len(submissions))
	for i := range submissions {
		results[i].ID = submissions[i].ID
		if results[i].Err = c.check(&submissions[i]); results[i].Err == nil {
			todo = append(todo, i)
		}
	}
	todo = c.known(ctx, submissions, results, todo)
	if len(todo) == 0 {
		return results
	}
	deliveries := make([]task.Delivery, len(todo))
	for k, i := range todo {
		s := &submissions[i]
		deliveries[k] = task.Delivery{Envelope: s.Envelope, Params: s.Params}
		defer c.trace(ctx, &deliveries[k])()
	}
	errs := c.producer.Submit(ctx, deliveries)
	accepted := todo[:0:0]
	for k, i := range todo {
		if errs != nil && errs[k] != nil {
			results[i].Err = errs[k]
			continue
		}
		accepted = append(accepted, i)
	}
	c.note(ctx, submissions, results, accepted)
	return results
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
	r.Existed = true
	return true
}

// note creates the states of accepted tasks. Kafka has them, so an error here
// is none of the caller's: whoever claims the task creates its state.
func (c *Client) note(ctx context.Context, submissions []task.Submission, results []Result, accepted []int) {
	if len(accepted) == 0 {
		return
	}
	notes := make([]claims.Submission, len(accepted))
	for k, i := range accepted {
		s := &submissions[i]
		info := claims.Info{
			Type: s.Type, SubmittedAt: s.SubmittedAt, OpaqueID: s.OpaqueID,
			MaxAttempts: s.Envelope.MaxAttempts, Deadline: s.Envelope.Deadline, Explanation: waitsFor(s),
		}
		if c.cfg.Workers != nil {
			if d := c.cfg.Workers.Lookup(s.Type); d != nil && d.Describe != nil {
				info.Describe = d.Describe(s.Params)
			}
		}
		notes[k] = claims.Submission{ID: s.ID, Replay: s.Replay, ParamsHash: task.Hash(s.Params), NotBefore: s.NotBefore, Info: info.Encode()}
	}
	answers, err := c.claims.Submit(ctx, notes)
	if err != nil {
		c.log.Debug("states not created: the first claims will", "error", err, "tasks", len(notes))
		return
	}
	for k, i := range accepted {
		if answers[k].Verdict == claims.Conflicts {
			results[i].Err = ErrConflict
		}
	}
}

func waitsFor(s *task.Submission) string {
	if s.NotBefore.IsZero() {
		return "waits for a node"
	}
	return "waits until " + s.NotBefore.UTC().Format("2006-01-02 15:04:05Z")
}

// Invalid tells whether an error of Submit cannot heal by submitting again.
func Invalid(err error) bool {
	return errors.Is(err, task.ErrInvalid) || errors.Is(err, ErrConflict)
}
