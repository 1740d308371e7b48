package claims

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Beat renews one claim and carries what its run reported. The numbers, hash
// and not-before are those of the record the claim was granted to: a state
// that Redis lost is written anew from them.
type Beat struct {
	ID                   string
	Lease                string // as granted
	Replay, Attempt, Hop int    // Hop: the highest that Kafka is known to have
	ParamsHash           uint64
	NotBefore            time.Time
	// Active: the worker has reported at least once.
	Active bool
	// Reset: a checkpoint advanced since the last beat, so the lost count
	// starts again at 0.
	Reset bool
	// Info replaces the state's; nil leaves it.
	Info []byte
}

// BeatAnswer is the answer to one [Beat].
type BeatAnswer struct {
	Verdict BeatVerdict
	Err     error // Unknown only
}

// BeatVerdict says what became of a claim.
type BeatVerdict uint8

// The verdicts of a beat.
const (
	// Unknown: this task could not be judged; the claim is neither renewed nor lost.
	Unknown BeatVerdict = iota
	// Kept: renewed, or put back after Redis lost it.
	Kept
	// KeptCancel: renewed, and the task should be cancelled.
	KeptCancel
	// Lost: somebody else claimed the task, or it is settled. Stop.
	Lost
)

// Beat renews many claims at once and keeps their buckets warm. A holder that
// is answered Lost takes back its own count among the task's lost claims. An
// error means unknown for all.
func (s *Store) Beat(ctx context.Context, beats []Beat) ([]BeatAnswer, error) {
	answers := make([]BeatAnswer, len(beats))
	for i := range beats {
		if err := beats[i].check(); err != nil {
			answers[i].Err = err
		}
	}
	batches := s.plan(len(beats), func(i int) string { return beats[i].ID }, func(i int) bool { return answers[i].Err != nil })
	err := s.each(ctx, "beat", batches, 0,
		func(b batch) scriptCall { return s.beatCall(beats, b) },
		func(i int, _ []string, text string) { answers[i] = readBeat(beats[i].ID, text) },
		func(i int, err error) { answers[i].Err = err })
	if err != nil {
		return nil, err
	}
	return answers, nil
}

func (s *Store) beatCall(beats []Beat, b batch) scriptCall {
	buckets, counts := b.epochs()
	call := scriptCall{script: scriptBeat}
	var above kin
	for _, bucket := range buckets {
		call.keys = append(call.keys, s.keys.epoch(bucket))
	}
	for k, i := range b.index {
		call.keys = append(call.keys, s.keys.lease(b.buckets[k], beats[i].ID))
	}
	var tasks []any
	for k, i := range b.index {
		call.keys = append(call.keys, s.keys.state(b.buckets[k], beats[i].ID))
		tasks = append(tasks, beats[i].Lease, beats[i].options(&above, s.keys.tags[b.buckets[k]]), beats[i].blob())
	}
	call.keys = append(call.keys, above.keys...)
	for _, bucket := range buckets {
		call.keys = append(call.keys, s.keys.running(bucket))
	}
	call.args = append(call.args, millis(s.cfg.Lease), s.keys.idAt(), len(buckets), len(b.index), len(above.keys))
	for _, count := range counts {
		call.args = append(call.args, count)
	}
	call.args = append(call.args, tasks...)
	return call
}

func (b *Beat) numbers() numbers { return numbers{b.Replay, b.Attempt, b.Hop} }

func (b *Beat) check() error {
	return errors.Join(checkID(b.ID), checkLease(b.Lease), b.numbers().check())
}

func (b *Beat) options(above *kin, tag string) string {
	first, count := above.add(tag, b.ID)
	o := appendFlag(make([]byte, 0, 10), b.Active)
	o = appendFlag(o, b.Reset)
	o = appendFlag(o, b.Info != nil)
	o = appendDigits(o, int64(first), 4)
	return string(appendDigits(o, int64(count), 3))
}

func (b *Beat) blob() string {
	blob := make([]byte, 0, blobBytes+len(b.Info))
	return string(appendBlob(blob, b.numbers(), b.ParamsHash, b.NotBefore, b.Info))
}

// readBeat reads what lua/beat.lua says of one task.
func readBeat(id, text string) BeatAnswer {
	switch text {
	case "k":
		return BeatAnswer{Verdict: Kept}
	case "x":
		return BeatAnswer{Verdict: KeptCancel}
	case "l":
		return BeatAnswer{Verdict: Lost}
	default:
		return BeatAnswer{Err: fmt.Errorf("beat of task %s: %w", id, errAnswer(text))}
	}
}

// checkLease checks the shape of a lease value: claimant|nonce|allocation id.
func checkLease(lease string) error {
	const digits = 14
	if at := len(lease) - digits - 1; at < 1 || lease[at] != '|' {
		return fmt.Errorf("%w: lease value %q", ErrInvalid, lease)
	}
	for _, c := range []byte(lease[len(lease)-digits:]) {
		if c < '0' || c > '9' {
			return fmt.Errorf("%w: lease value %q", ErrInvalid, lease)
		}
	}
	return nil
}
