package claims

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Submission is a task that Kafka has accepted.
type Submission struct {
	ID         string
	Replay     int
	ParamsHash uint64
	NotBefore  time.Time
	Info       []byte
}

// SubmitAnswer is the answer to one [Submission].
type SubmitAnswer struct {
	Verdict SubmitVerdict
	Err     error // Unsubmitted only
}

// SubmitVerdict says what a submission met.
type SubmitVerdict uint8

// The verdicts of a submission.
const (
	// Unsubmitted: this one could not be judged.
	Unsubmitted SubmitVerdict = iota
	// Created: the state was absent, or of a lower replay that ended.
	Created
	// Exists: the same task is there and not ended.
	Exists
	// Ended: the same task is there and terminal, or a later replay of it is there.
	Ended
	// Conflicts: another task with other parameters has this id and replay.
	Conflicts
)

// Submit creates the states of tasks that Kafka has accepted, where they are
// absent. It goes on in cold buckets: outcomes are restored over it.
func (s *Store) Submit(ctx context.Context, submissions []Submission) ([]SubmitAnswer, error) {
	answers := make([]SubmitAnswer, len(submissions))
	for i := range submissions {
		x := &submissions[i]
		if err := errors.Join(checkID(x.ID), x.numbers().check()); err != nil {
			answers[i].Err = err
		}
	}
	batches := s.plan(len(submissions), func(i int) string { return submissions[i].ID }, func(i int) bool { return answers[i].Err != nil })
	err := s.each(ctx, "submit", batches, 0,
		func(b batch) scriptCall { return s.submitCall(submissions, b) },
		func(i int, _ []string, text string) { answers[i] = readSubmitted(submissions[i].ID, text) },
		func(i int, err error) { answers[i].Err = err })
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// numbers are those of a task's first record.
func (x *Submission) numbers() numbers { return numbers{x.Replay, 1, 0} }

func (s *Store) submitCall(submissions []Submission, b batch) scriptCall {
	call := scriptCall{script: scriptSubmit}
	for k, i := range b.index {
		x := &submissions[i]
		call.keys = append(call.keys, s.keys.state(b.buckets[k], x.ID))
		call.args = append(call.args, string(appendBlob(nil, x.numbers(), x.ParamsHash, x.NotBefore, x.Info)))
	}
	return call
}

// readSubmitted reads what lua/submit.lua says of one task.
func readSubmitted(id, text string) SubmitAnswer {
	switch text {
	case "n":
		return SubmitAnswer{Verdict: Created}
	case "y":
		return SubmitAnswer{Verdict: Exists}
	case "t":
		return SubmitAnswer{Verdict: Ended}
	case "x":
		return SubmitAnswer{Verdict: Conflicts}
	default:
		return SubmitAnswer{Err: fmt.Errorf("submit task %s: %w", id, errAnswer(text))}
	}
}
