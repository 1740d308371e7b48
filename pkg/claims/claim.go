package claims

import (
	"context"
	"errors"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// MaxBatch is how many tasks one script call takes. Longer slices are cut
// into several calls.
const MaxBatch = 256

// Ask asks for one task's claim on behalf of one record.
type Ask struct {
	ID                   string
	Replay, Attempt, Hop int
	ParamsHash           uint64 // 0: not known
	NotBefore, Deadline  time.Time
	// Look asks what a claim would say and takes nothing.
	Look bool
	// Info is the encoded [Info] for a task whose state is absent or was
	// never claimed: what the record says, with the node and the time.
	Info []byte
}

// Verdict is the answer to a claim.
type Verdict uint8

// The verdicts, in the order in which a claim is judged.
const (
	// Failed: this task could not be judged; Answer.Err says why.
	Failed Verdict = iota
	// Cold: Redis may have forgotten the task. Wait.
	Cold
	// Conflict: another task with other parameters has the same id and replay.
	Conflict
	// Granted: run it. Beats and the settlement name Answer.Lease.
	Granted
	// Held: somebody runs it, or an older replay is not finished. Park it and
	// ask again after Answer.Wait or at a wake-up.
	Held
	// Owed: Answer.State ended or hopped and may never have been published.
	// Publish it, then finish the record. When Answer.State.Replay is lower
	// than the record's: publish it, say so with [Store.Published], and ask again.
	Owed
	// Settled: the task ended at this replay and that is published. Finish the record.
	Settled
	// Superseded: a newer record of the task is on its way. Finish this one.
	Superseded
	// Early: its time comes in Answer.Wait.
	Early
	// Free: a look found nothing in the way.
	Free
)

// Answer is the answer to one [Ask].
type Answer struct {
	Verdict Verdict
	// Lease of a granted claim is the whole lease value.
	Lease string
	// AllocationID of a granted claim is its fencing token.
	AllocationID int64
	// Wait: Held, until asking again makes sense; Early, until not-before.
	Wait time.Duration
	// State: Owed, what to publish; Granted, what the run before left behind
	// (checkpoint, lost and interrupted counts), nil when there was none.
	State *State
	Err   error // Failed only
}

// Claim asks for many tasks at once, at most [MaxBatch] per call of a script.
// The nonce names the call: calling again with the same one, after an error,
// returns the same grants. An error means unknown for all of them.
//
// A granted claim may be trusted until Trust after the call was made, unless a
// beat has renewed it since.
func (s *Store) Claim(ctx context.Context, claimant, nonce string, asks []Ask) ([]Answer, error) {
	return nil, errors.New("not yet")
}

// Burial asks for a task that cannot run to be settled as FAILED.
type Burial struct {
	ID                   string
	Replay, Attempt, Hop int
	ParamsHash           uint64
	NotBefore            time.Time
	Reason               task.Reason
	Info                 []byte
}

// Bury settles tasks that nobody claimed (undecodable, expired, too large) as
// FAILED, where a claim would have been granted, and answers as [Store.Claim]
// does: Owed with the state to publish, or what stands in the way.
func (s *Store) Bury(ctx context.Context, nonce string, burials []Burial) ([]Answer, error) {
	return nil, errors.New("not yet")
}
