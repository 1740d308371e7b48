package claims

import (
	"context"
	"fmt"
	"time"
)

// CancelAnswer is the answer to [Store.Cancel].
type CancelAnswer uint8

// The answers to a request to cancel.
const (
	// CancelSettled: the task is CANCELLED and that was not published yet. The
	// caller publishes the event, then calls [Store.Published].
	CancelSettled CancelAnswer = iota + 1
	// CancelRequested: it runs, and its node was told.
	CancelRequested
	// CancelTooLate: it had ended, as the state says.
	CancelTooLate
)

// Cancel asks for one task to end: one that does not run is CANCELLED at once,
// one that runs is asked to. Children of a cancelled task are not granted any
// more, and those that run are asked to end with their next beat. info is for
// a task that Redis does not know. The error is [ErrCold] while Redis may have
// forgotten it.
func (s *Store) Cancel(ctx context.Context, id string, info []byte) (CancelAnswer, *State, error) {
	if err := checkID(id); err != nil {
		return 0, nil, err
	}
	bucket := Bucket(id)
	blob := appendBlob(nil, numbers{0, 1, 0}, 0, time.Time{}, info)
	value := s.run(ctx, scriptCall{
		scriptCancel,
		[]string{s.keys.epoch(bucket), s.keys.lease(bucket, id), s.keys.state(bucket, id)},
		[]any{millis(s.cfg.Retention), s.keys.wakes(), id, string(blob)},
	})[0]
	answer, raw, err := readCancelled(value)
	if err != nil {
		return 0, nil, fmt.Errorf("cancel task %s: %w", id, err)
	}
	state, err := decodeState(id, raw)
	return answer, state, err
}

// readCancelled reads what lua/cancel.lua says.
func readCancelled(r reply) (CancelAnswer, string, error) {
	if r.err != nil {
		return 0, "", r.err
	}
	text, ok := r.value.(string)
	if !ok || text == "" {
		return 0, "", fmt.Errorf("redis answered %T", r.value)
	}
	switch text[0] {
	case 'd':
		return CancelSettled, text[1:], nil
	case 'r':
		return CancelRequested, text[1:], nil
	case 't':
		return CancelTooLate, text[1:], nil
	case 'c':
		return 0, "", ErrCold
	default:
		return 0, "", fmt.Errorf("redis answered %q", text)
	}
}
