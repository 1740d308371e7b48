package claims

import (
	"context"
	"errors"
	"time"
)

// Beat renews one claim and carries what its run reported. The numbers, hash
// and not-before are those of the record the claim was granted to: a state
// that Redis lost is written anew from them.
type Beat struct {
	ID                   string
	Lease                string // as granted
	Replay, Attempt, Hop int    // Hop: the highest that the holder raised or was granted
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
	return nil, errors.New("not yet")
}
