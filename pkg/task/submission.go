package task

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// Submission is a task on its way to the queue: see [NewSubmission].
type Submission struct {
	Envelope
	Params []byte
	// Chosen tells that the caller gave the id: submitting it again with the
	// same parameters is a repeat, with others a conflict.
	Chosen bool
	// Unique tells that the id stands for a key: a second submission finds
	// the first one's task.
	Unique bool
	// Again makes a unique task that has ended run once more, as a new replay.
	Again bool
	// Describe is what a [Describer] says of its parameters.
	Describe string
}

// SubmitOption changes a [Submission].
type SubmitOption func(*Submission)

// ID names the task; see [ValidateID]. Submitting the same id and parameters
// again is safe and has no effect.
func ID(id string) SubmitOption {
	return func(s *Submission) { s.ID, s.Chosen = id, true }
}

// Unique makes key, which may not be empty, stand for the task: while it is known, submitting another
// one of the same type and key returns the first one's id.
func Unique(key string) SubmitOption {
	return func(s *Submission) { s.unique(key, 0) }
}

// UniqueFor is [Unique] within one period: periods are counted from the Unix
// epoch, so all producers agree on them.
func UniqueFor(key string, period time.Duration) SubmitOption {
	return func(s *Submission) { s.unique(key, period) }
}

// Again makes a [Unique] key unique only while its task is not finished: a
// later submission runs it once more.
func Again() SubmitOption { return func(s *Submission) { s.Again = true } }

// In runs the task no earlier than after a delay.
func In(delay time.Duration) SubmitOption {
	return func(s *Submission) { s.NotBefore = s.SubmittedAt.Add(delay) }
}

// At runs the task no earlier than at a time, at most [MaxRunAt] ahead.
func At(t time.Time) SubmitOption { return func(s *Submission) { s.NotBefore = t } }

// Deadline makes the task a dead letter when it could not start by then.
func Deadline(t time.Time) SubmitOption { return func(s *Submission) { s.Envelope.Deadline = t } }

// MaxAttempts replaces the limit of the type's policy.
func MaxAttempts(n int) SubmitOption { return func(s *Submission) { s.Envelope.MaxAttempts = n } }

// OpaqueID marks the task with the caller's own id, kept through every hop
// and in the event.
func OpaqueID(id string) SubmitOption { return func(s *Submission) { s.Envelope.OpaqueID = id } }

// ContentType tells what the parameters are when they are no JSON.
func ContentType(t string) SubmitOption { return func(s *Submission) { s.Envelope.ContentType = t } }

// NewSubmission encodes and checks a task: the error wraps [ErrInvalid] when
// it can never be accepted.
func NewSubmission(typ string, params any, options ...SubmitOption) (Submission, error) {
	now := time.Now()
	s := Submission{Envelope: Envelope{Type: typ, Attempt: 1, SubmittedAt: now}}
	for _, option := range options {
		option(&s)
	}
	if s.ID == "" && !s.Chosen {
		s.ID = NewID()
	}
	var err error
	if s.Params, err = Encode(params); err != nil {
		return Submission{}, err
	}
	if d, ok := params.(Describer); ok {
		s.Describe = d.Describe()
	}
	if err := s.Validate(s.Params, now); err != nil {
		return Submission{}, fmt.Errorf("submit %s: %w", typ, err)
	}
	return s, nil
}

// unique derives the id from (type, key, period), so that every producer finds
// the same one without asking anybody.
func (s *Submission) unique(key string, period time.Duration) {
	text := s.Type + "\x00" + key
	if period > 0 {
		text += "\x00" + period.String() + "\x00" + strconv.FormatInt(s.SubmittedAt.UnixNano()/int64(period), 10)
	}
	sum := sha256.Sum256([]byte(text))
	s.Chosen, s.Unique = true, true
	if key == "" { // without an id it is refused: else all tasks of the type would be one
		return
	}
	s.ID = "u-" + hex.EncodeToString(sum[:16])
}
