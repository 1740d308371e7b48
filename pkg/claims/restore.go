package claims

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Outcome is a terminal event read back from the results topic.
type Outcome struct {
	ID              string
	Replay, Attempt int
	Status          task.Status
	AllocationID    int64
	Reason          task.Reason
	At              time.Time
	Info            []byte
}

// Restore writes outcomes, marked published, over states of the same or a
// lower (replay, attempt) that did not end at that replay. What no state can
// hold is logged and left out: one bad event must not keep Redis cold.
func (s *Store) Restore(ctx context.Context, outcomes []Outcome) error {
	invalid := make([]bool, len(outcomes))
	var errs []error
	for i := range outcomes {
		if err := outcomes[i].check(); err != nil {
			invalid[i] = true
			s.cfg.Log.Warn("outcome left out of the rebuild", "error", err, "task_id", outcomes[i].ID)
		}
	}
	batches := s.plan(len(outcomes), func(i int) string { return outcomes[i].ID }, func(i int) bool { return invalid[i] })
	err := s.each(ctx, "restore", batches, 0,
		func(b batch) scriptCall { return s.restoreCall(outcomes, b) },
		func(i int, _ []string, text string) {
			if text[0] == '!' {
				errs = append(errs, fmt.Errorf("restore task %s: %w", outcomes[i].ID, errAnswer(text)))
			}
		},
		func(_ int, err error) { errs = append(errs, err) })
	if err != nil {
		return err
	}
	return errors.Join(errs...)
}

func (s *Store) restoreCall(outcomes []Outcome, b batch) scriptCall {
	call := scriptCall{script: scriptRestore, args: []any{millis(s.cfg.Retention), s.keys.idAt(), len(b.index)}}
	for k, i := range b.index {
		call.keys = append(call.keys, s.keys.state(b.buckets[k], outcomes[i].ID))
	}
	more := extraKeys{keys: call.keys}
	for k, i := range b.index {
		failed := 0
		if outcomes[i].Status == task.Failed {
			failed = more.add(s.keys.failed(b.buckets[k]))
		}
		call.args = append(call.args, outcomes[i].argument(failed))
	}
	call.keys = more.keys
	return call
}

func (o *Outcome) numbers() numbers { return numbers{o.Replay, o.Attempt, 0} }

func (o *Outcome) check() error {
	_, unknown := reasonCode(o.Reason)
	err := errors.Join(checkID(o.ID), o.numbers().check(), unknown)
	if !o.Status.Terminal() || o.Status > task.Cancelled {
		err = errors.Join(err, fmt.Errorf("%w: an outcome %v", ErrInvalid, o.Status))
	}
	if o.AllocationID < 0 || o.AllocationID > maxMillis {
		err = errors.Join(err, fmt.Errorf("%w: allocation id %d", ErrInvalid, o.AllocationID))
	}
	return err
}

func (o *Outcome) argument(failed int) string {
	reason, _ := reasonCode(o.Reason) // checked before
	b := []byte{byte('0' + o.Status), reason}
	b = appendDigits(b, o.AllocationID, 14)
	b = appendTime(b, o.At)
	b = appendDigits(b, int64(failed), 4)
	return string(appendBlob(b, o.numbers(), 0, time.Time{}, o.Info))
}
