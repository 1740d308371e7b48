package claims

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Settlement ends a claim.
type Settlement struct {
	ID    string
	Lease string // as granted
	// Status that results: Success, Failed, Cancelled, or Unassigned for the
	// next attempt and for an interruption.
	Status task.Status
	// Replay, Attempt and Hop of the state that results: those of the claim,
	// or for a retry the next attempt and hop 0.
	Replay, Attempt, Hop int
	ParamsHash           uint64
	NotBefore            time.Time // of the next attempt, else the record's
	// Interrupted: the run ended for no fault of its own. The attempt stays,
	// nothing is owed, and any copy of the record may be claimed at once.
	Interrupted bool
	// Waiting: as Interrupted, for children, and it may be so any number of times.
	Waiting bool
	Reason  task.Reason // with Failed
	// Fresh: the claim is younger than half of Config.Retention, so a state
	// that is absent was lost and may be written.
	Fresh bool
	// Wake: a copy of the record may be parked elsewhere: tell it.
	Wake bool
	Info []byte
}

// SettleAnswer is the answer to one [Settlement].
type SettleAnswer struct {
	Verdict SettleVerdict
	// Status that results when Done: Cancelled when a request to cancel won
	// over a failure, a retry or an interruption.
	Status task.Status
	Err    error // Unsettled only
}

// SettleVerdict says whether a settlement counts.
type SettleVerdict uint8

// The verdicts of a settlement.
const (
	// Unsettled: this task could not be judged: settle it again.
	Unsettled SettleVerdict = iota
	// Done: the state is written, now or by an earlier call of the same settlement.
	Done
	// Stale: the claim is no longer ours and the report is refused. The record
	// goes back to the claim loop.
	Stale
)

// Settle ends many claims at once: each lease is released, then its state
// written. It may be repeated: the state keeps the allocation id. The caller
// has taken the tasks out of its beats and waited for those under way. An
// error means unknown for all.
//
// What a Done settlement owes (an event for a terminal status, the next
// attempt's record for a retry, nothing for an interruption) is answered as
// [Owed] to every older copy of the record until [Store.Published] names it.
func (s *Store) Settle(ctx context.Context, settlements []Settlement) ([]SettleAnswer, error) {
	answers := make([]SettleAnswer, len(settlements))
	for i := range settlements {
		if err := settlements[i].check(); err != nil {
			answers[i].Err = err
		}
	}
	batches := s.plan(len(settlements), func(i int) string { return settlements[i].ID }, func(i int) bool { return answers[i].Err != nil })
	err := s.each(ctx, "settle", batches, 0,
		func(b batch) scriptCall { return s.settleCall(settlements, b) },
		func(i int, _ []string, text string) { answers[i] = readSettled(settlements[i].ID, text) },
		func(i int, err error) { answers[i].Err = err })
	if err != nil {
		return nil, err
	}
	return answers, nil
}

func (s *Store) settleCall(settlements []Settlement, b batch) scriptCall {
	n := len(b.index)
	call := scriptCall{
		script: scriptSettle,
		keys:   make([]string, 0, 2*n),
		args:   make([]any, 0, 4+3*n),
	}
	call.args = append(call.args, millis(s.cfg.Retention), s.keys.wakes(), s.keys.idAt(), n)
	for k, i := range b.index {
		call.keys = append(call.keys, s.keys.lease(b.buckets[k], settlements[i].ID))
	}
	for k, i := range b.index {
		call.keys = append(call.keys, s.keys.state(b.buckets[k], settlements[i].ID))
	}
	more := extraKeys{keys: call.keys}
	for k, i := range b.index {
		x, bucket := &settlements[i], b.buckets[k]
		var failed, root int
		if x.Status == task.Failed {
			failed = more.add(s.keys.failed(bucket))
		}
		if name := task.Root(x.ID); name != x.ID {
			root = more.add(s.keys.state(bucket, name))
		}
		call.args = append(call.args, x.Lease, x.options(failed, root), x.blob())
	}
	call.keys = more.keys
	return call
}

// extraKeys are keys that several tasks of a call share, behind their own.
type extraKeys struct {
	keys  []string
	place map[string]int // from 1, among all keys of the call
}

func (e *extraKeys) add(key string) int {
	if place, ok := e.place[key]; ok {
		return place
	}
	if e.place == nil {
		e.place = make(map[string]int)
	}
	e.keys = append(e.keys, key)
	e.place[key] = len(e.keys)
	return len(e.keys)
}

func (x *Settlement) numbers() numbers { return numbers{x.Replay, x.Attempt, x.Hop} }

func (x *Settlement) check() error {
	_, unknown := reasonCode(x.Reason)
	err := errors.Join(checkID(x.ID), checkLease(x.Lease), x.numbers().check(), unknown)
	if !x.Status.Terminal() && x.Status != task.Unassigned || x.Status > task.Cancelled {
		err = errors.Join(err, fmt.Errorf("%w: a settlement as %v", ErrInvalid, x.Status))
	}
	if (x.Interrupted || x.Waiting) && x.Status != task.Unassigned {
		err = errors.Join(err, fmt.Errorf("%w: an interruption as %v", ErrInvalid, x.Status))
	}
	return err
}

func (x *Settlement) options(failed, root int) string {
	reason, _ := reasonCode(x.Reason) // checked before
	o := append(make([]byte, 0, 13), byte('0'+x.Status))
	if x.Waiting {
		o = append(o, 'w')
	} else {
		o = appendFlag(o, x.Interrupted)
	}
	o = appendFlag(o, x.Fresh)
	o = appendFlag(o, x.Wake)
	o = append(o, reason)
	o = appendDigits(o, int64(failed), 4)
	return string(appendDigits(o, int64(root), 4))
}

func (x *Settlement) blob() string {
	blob := make([]byte, 0, blobBytes+len(x.Info))
	return string(appendBlob(blob, x.numbers(), x.ParamsHash, x.NotBefore, x.Info))
}

// readSettled reads what lua/settle.lua says of one task.
func readSettled(id, text string) SettleAnswer {
	switch {
	case text == "z":
		return SettleAnswer{Verdict: Stale}
	case len(text) == 2 && text[0] == 'd':
		return SettleAnswer{Verdict: Done, Status: task.Status(text[1] - '0')}
	default:
		return SettleAnswer{Err: fmt.Errorf("settle task %s: %w", id, errAnswer(text))}
	}
}
