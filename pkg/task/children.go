package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrWaiting is what [Execution.Await] returns while children have not ended:
// the worker returns it, wrapped or not, and is called again when they have. Meanwhile
// the task holds no slot and no attempt is counted.
var ErrWaiting = errors.New("waits for its children")

// Child is a task that another task's worker submits under its own id.
type Child struct {
	// Name is the last part of the child's id, as in "snapshot-7/books-0"; it
	// says what the child is, so that the same plan finds the same children.
	Name   string
	Type   string
	Params any
	// Options as for any submission, but for [ID] and [Unique].
	Options []SubmitOption
}

// ChildState is how a child is.
type ChildState struct {
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Status     Status          `json:"status"`
	Fraction   float64         `json:"fraction"`
	Result     json.RawMessage `json:"result,omitempty"`
	Error      string          `json:"error,omitempty"`
	Reason     Reason          `json:"reason,omitempty"`
	Replay     int             `json:"replay,omitempty"`
	BytesMoved int64           `json:"bytes_moved,omitempty"`
	ParamsHash uint64          `json:"-"` // 0: not known
}

// Family is how a node gives a run access to its children.
type Family interface {
	// States tells how tasks are; nil stands for one nothing is known of.
	States(ctx context.Context, ids []string) ([]*ChildState, error)
	// Submit publishes tasks and answers nil once they are accepted. One that
	// is there already is no error.
	Submit(ctx context.Context, children []Submission) error
}

// SetFamily is for nodes and tests.
func (x *Execution) SetFamily(f Family) { x.family = f }

// Await submits the children that are not there yet and returns their states,
// in order, once all have succeeded. Until then it returns [ErrWaiting], and
// the worker returns that: it will be called again, from its start, and plans the same
// children again, so the plan must depend on nothing but parameters, checkpoint
// and what earlier children returned. A plan may grow: a second Await may
// follow on the first.
//
// When a child fails or is cancelled Await returns a permanent error that names it. The
// task fails with that, and the children that have not ended are cancelled: no
// descendant of a task that failed or was cancelled goes on. A parent that is
// redriven submits those children again that did not succeed.
//
// It reports progress: the mean of the children's. With ErrWaiting, and when a
// child failed, the states are returned as they are.
func (x *Execution) Await(ctx context.Context, children ...Child) ([]ChildState, error) {
	return x.await(ctx, children, true)
}

// AwaitAll is [Execution.Await] for a parent that goes on when children fail:
// it returns the states once all have ended, however they did.
func (x *Execution) AwaitAll(ctx context.Context, children ...Child) ([]ChildState, error) {
	return x.await(ctx, children, false)
}

func (x *Execution) await(ctx context.Context, children []Child, strict bool) ([]ChildState, error) {
	if x.family == nil {
		return nil, Permanent(fmt.Errorf("%w: this run has no way to submit children", ErrInvalid))
	}
	submissions, ids, err := x.plan(children)
	if err != nil {
		return nil, Permanent(err)
	}
	known, err := x.family.States(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("states of children: %w", err)
	}
	states := make([]ChildState, len(children))
	var missing []Submission
	for i, s := range known {
		switch {
		case s == nil:
			states[i] = ChildState{ID: ids[i], Type: children[i].Type, Status: Unassigned}
			missing = append(missing, submissions[i])
		case s.ParamsHash != 0 && s.ParamsHash != Hash(submissions[i].Params):
			return nil, Permanent(fmt.Errorf("%w: child %s was submitted with other parameters: a worker must plan the same children each time", ErrInvalid, ids[i]))
		case s.Status.Terminal() && s.Status != Success && s.Replay < x.Replay: // of an earlier life of this task
			states[i] = ChildState{ID: ids[i], Type: children[i].Type, Status: Unassigned, Replay: x.Replay}
			submissions[i].Replay = x.Replay
			missing = append(missing, submissions[i])
		default:
			states[i] = *s
		}
	}
	if len(missing) > 0 {
		if err := x.family.Submit(ctx, missing); err != nil {
			return nil, fmt.Errorf("submit children: %w", err)
		}
	}
	return states, x.judgeChildren(states, strict)
}

// plan encodes the children's parameters and names them.
func (x *Execution) plan(children []Child) (submissions []Submission, ids []string, err error) {
	submissions, ids = make([]Submission, len(children)), make([]string, len(children))
	named := make(map[string]bool, len(children))
	for i, c := range children {
		if named[c.Name] {
			return nil, nil, fmt.Errorf("%w: two children with the name %q", ErrInvalid, c.Name)
		}
		named[c.Name] = true
		ids[i] = x.ID + "/" + c.Name
		options := append([]SubmitOption{OpaqueID(x.OpaqueID)}, c.Options...)
		if submissions[i], err = NewSubmission(c.Type, c.Params, append(options, ID(ids[i]))...); err != nil {
			return nil, nil, fmt.Errorf("child %q: %w", c.Name, err)
		}
	}
	return submissions, ids, nil
}

func (x *Execution) judgeChildren(states []ChildState, strict bool) error {
	ended, fraction := 0, 0.0
	for i := range states {
		s := &states[i]
		switch {
		case !s.Status.Terminal():
			fraction += s.Fraction
			continue
		case strict && s.Status != Success:
			return Permanent(fmt.Errorf("child %s: %s %s", s.ID, s.Status, s.Error))
		}
		fraction++
		ended++
	}
	if len(states) > 0 {
		x.Progress(fraction/float64(len(states)), fmt.Sprintf("%d of %d children have ended", ended, len(states)))
	}
	if ended < len(states) {
		return ErrWaiting
	}
	return nil
}
