package claims

import (
	"context"
	"errors"
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
	Reason      task.Reason // with Failed
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
	return nil, errors.New("not yet")
}
