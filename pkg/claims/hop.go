package claims

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// HopAsk asks for the number under which a record is published once more.
type HopAsk struct {
	ID                   string
	Replay, Attempt, Hop int    // of the record
	Lease                string // as granted, when the record's task runs here; else ""
	ParamsHash           uint64
	NotBefore            time.Time
	Info                 []byte // for a state that is absent
}

// HopAnswer is the answer to one [HopAsk].
type HopAnswer struct {
	// Hop is the number to publish the record with.
	Hop int
	// AllocationID goes into the [Mark] after the record was acknowledged.
	AllocationID int64
	// Checkpoint is the newest one, to travel with the record.
	Checkpoint []byte
	// Superseded: the record is not the newest any more. Ask for a claim: the
	// answer says what to do.
	Superseded bool
	Err        error
}

// RaiseHop writes the next hop number into the state, before the record is
// published with it. The same record gets the same number until it is marked
// published. ErrCold while Redis may have forgotten the task. An error
// returned for the call means unknown for all.
func (s *Store) RaiseHop(ctx context.Context, asks []HopAsk) ([]HopAnswer, error) {
	answers := make([]HopAnswer, len(asks))
	for i := range asks {
		if err := asks[i].check(); err != nil {
			answers[i].Err = err
		}
	}
	batches := s.plan(len(asks), func(i int) string { return asks[i].ID }, func(i int) bool { return answers[i].Err != nil })
	err := s.each(ctx, "raise hop", batches, 0,
		func(b batch) scriptCall { return s.hopCall(asks, b) },
		func(i int, _ []string, text string) { answers[i] = readHop(asks[i].ID, text) },
		func(i int, err error) { answers[i].Err = err })
	if err != nil {
		return nil, err
	}
	return answers, nil
}

func (s *Store) hopCall(asks []HopAsk, b batch) scriptCall {
	buckets, counts := b.epochs()
	call := scriptCall{script: scriptHop, args: []any{len(buckets), len(b.index)}}
	for e, bucket := range buckets {
		call.keys = append(call.keys, s.keys.epoch(bucket))
		call.args = append(call.args, counts[e])
	}
	for k, i := range b.index {
		call.keys = append(call.keys, s.keys.lease(b.buckets[k], asks[i].ID))
	}
	for k, i := range b.index {
		a := &asks[i]
		call.keys = append(call.keys, s.keys.state(b.buckets[k], a.ID))
		blob := appendBlob(nil, a.numbers(), a.ParamsHash, a.NotBefore, a.Info)
		call.args = append(call.args, a.Lease, string(blob))
	}
	return call
}

func (a *HopAsk) numbers() numbers { return numbers{a.Replay, a.Attempt, a.Hop} }

func (a *HopAsk) check() error {
	err := errors.Join(checkID(a.ID), a.numbers().check())
	if a.Lease != "" {
		err = errors.Join(err, checkLease(a.Lease))
	}
	return err
}

// readHop reads what lua/hop.lua says of one task.
func readHop(id, text string) (a HopAnswer) {
	const digits = 6
	switch text[0] {
	case 'p':
		return HopAnswer{Superseded: true}
	case 'c':
		return HopAnswer{Err: fmt.Errorf("raise hop of task %s: %w", id, ErrCold)}
	case 'n':
		a.Hop, a.Err = strconv.Atoi(text[1 : 1+digits])
		if before := text[1+digits:]; before != "" && a.Err == nil {
			var st *State
			if st, a.Err = decodeState(id, before); a.Err == nil {
				a.AllocationID, a.Checkpoint = st.AllocationID, st.Checkpoint
			}
		}
	default:
		a.Err = errAnswer(text)
	}
	if a.Err != nil {
		return HopAnswer{Err: fmt.Errorf("raise hop of task %s: %w", id, a.Err)}
	}
	return a
}

// Mark names what was published: a terminal event, the record of the next
// attempt, or a hop.
type Mark struct {
	ID                   string
	Replay, Attempt, Hop int
	AllocationID         int64
	// Status of the state that was published: terminal for an event,
	// Unassigned for a record.
	Status task.Status
}

// Published notes that nothing is owed any more where the state still is the
// one named, and wakes whoever parks a copy. It may be left out: then a later
// copy publishes it again.
func (s *Store) Published(ctx context.Context, marks []Mark) error {
	batches := s.plan(len(marks), func(i int) string { return marks[i].ID }, func(int) bool { return false })
	var errs []error
	err := s.each(ctx, "mark published", batches, 0,
		func(b batch) scriptCall { return s.publishCall(marks, b) },
		func(i int, _ []string, text string) {
			if text[0] == '!' {
				errs = append(errs, fmt.Errorf("mark task %s as published: %w", marks[i].ID, errAnswer(text)))
			}
		},
		func(_ int, err error) { errs = append(errs, err) })
	if err != nil {
		return err
	}
	return errors.Join(errs...)
}

func (s *Store) publishCall(marks []Mark, b batch) scriptCall {
	call := scriptCall{script: scriptPublish, args: []any{s.keys.wakes(), s.keys.idAt()}}
	for k, i := range b.index {
		m := &marks[i]
		call.keys = append(call.keys, s.keys.state(b.buckets[k], m.ID))
		mark := appendFlag(nil, m.Status.Terminal())
		mark = appendDigits(mark, m.AllocationID, 14)
		call.args = append(call.args, string(appendOrder(mark, numbers{m.Replay, m.Attempt, m.Hop})))
	}
	return call
}
