package claims

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

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

	bury   bool // settle it as FAILED instead of granting it
	reason task.Reason
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
	// Superseded: a newer record of the task is on its way, or runs. Finish this one.
	Superseded
	// Early: its time comes in Answer.Wait.
	Early
	// Free: a look found nothing in the way.
	Free
)

var verdictNames = [...]string{"failed", "cold", "conflict", "granted", "held", "owed", "settled", "superseded", "early", "free"}

// String is the verdict's name, for logs and metrics.
func (v Verdict) String() string { return verdictNames[v] }

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
	if err := errors.Join(checkName("claimant", claimant), checkName("nonce", nonce)); err != nil {
		return nil, err
	}
	return s.claim(ctx, claimant+"|"+nonce+"|", asks)
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
	if err := checkName("nonce", nonce); err != nil {
		return nil, err
	}
	asks := make([]Ask, len(burials))
	for i, b := range burials {
		asks[i] = Ask{
			ID: b.ID, Replay: b.Replay, Attempt: b.Attempt, Hop: b.Hop,
			ParamsHash: b.ParamsHash, NotBefore: b.NotBefore, Info: b.Info,
			bury: true, reason: b.Reason,
		}
	}
	return s.claim(ctx, "|"+nonce+"|", asks)
}

func (s *Store) claim(ctx context.Context, who string, asks []Ask) ([]Answer, error) {
	answers := make([]Answer, len(asks))
	for i := range asks {
		if err := asks[i].check(); err != nil {
			answers[i].Err = err
		}
	}
	batches := s.plan(len(asks), func(i int) string { return asks[i].ID }, func(i int) bool { return answers[i].Err != nil })
	err := s.each(ctx, "claim", batches, 1,
		func(b batch) scriptCall { return s.claimCall(who, asks, b) },
		func(i int, head []string, text string) { answers[i] = readAnswer(asks[i].ID, who, head[0], text) },
		func(i int, err error) { answers[i].Err = err })
	if err != nil {
		return nil, err
	}
	return answers, nil
}

func (s *Store) claimCall(who string, asks []Ask, b batch) scriptCall {
	buckets, counts := b.epochs()
	n := len(b.index)
	call := scriptCall{
		script: scriptClaim,
		keys:   make([]string, 0, 2*len(buckets)+2*n),
		args:   make([]any, 0, 9+len(buckets)+2*n),
	}
	var above kin
	var options []string
	for k, i := range b.index {
		options = append(options, asks[i].options(&above, s.keys.tags[b.buckets[k]]))
	}
	for _, bucket := range buckets {
		call.keys = append(call.keys, s.keys.epoch(bucket))
	}
	for k, i := range b.index {
		call.keys = append(call.keys, s.keys.lease(b.buckets[k], asks[i].ID))
	}
	for k, i := range b.index {
		call.keys = append(call.keys, s.keys.state(b.buckets[k], asks[i].ID))
	}
	call.keys = append(call.keys, above.keys...)
	for _, bucket := range buckets {
		call.keys = append(call.keys, s.keys.failed(bucket))
	}
	call.args = append(call.args, who, millis(s.cfg.Lease), millis(s.cfg.Beat), millis(s.cfg.Retention), s.cfg.MaxLost,
		s.keys.idAt(), len(buckets), n, len(above.keys))
	for _, count := range counts {
		call.args = append(call.args, count)
	}
	for k, i := range b.index {
		a := &asks[i]
		blob := make([]byte, 0, blobBytes+len(a.Info))
		blob = appendBlob(blob, a.numbers(), a.ParamsHash, a.NotBefore, a.Info)
		call.args = append(call.args, string(blob), options[k])
	}
	return call
}

func (a Ask) numbers() numbers { return numbers{a.Replay, a.Attempt, a.Hop} }

func (a Ask) check() error {
	_, unknown := reasonCode(a.reason)
	return errors.Join(checkID(a.ID), a.numbers().check(), unknown)
}

// options are empty for most tasks, which spares the script from reading them.
func (a Ask) options(above *kin, tag string) string {
	first, count := above.add(tag, a.ID)
	if !a.Look && !a.bury && a.Deadline.IsZero() && a.NotBefore.IsZero() && count == 0 {
		return ""
	}
	reason, _ := reasonCode(a.reason) // checked before
	if a.bury && reason == '-' {
		reason = ' '
	}
	b := appendFlag(make([]byte, 0, 23), a.Look)
	b = appendTime(b, a.Deadline)
	b = append(b, reason)
	b = appendDigits(b, int64(first), 4)
	return string(appendDigits(b, int64(count), 3))
}

// readAnswer reads what lua/claim.lua says of one task.
func readAnswer(id, who, now, text string) Answer {
	verdict, rest := text[0], text[1:]
	var a Answer
	switch verdict {
	case 'c':
		a.Verdict = Cold
	case 'x':
		a.Verdict = Conflict
	case 'g':
		a.Verdict, a.Lease = Granted, who+now
		a.AllocationID, a.Err = strconv.ParseInt(now, 10, 64)
	case 'G':
		a.Verdict = Granted
		if a.State, a.Err = decodeState(id, rest); a.Err == nil {
			a.AllocationID, a.Lease = a.State.AllocationID, who+rest[4:18]
		}
	case 'h':
		a.Verdict = Held
		a.Wait, a.Err = parseMillis(rest)
	case 'o':
		a.Verdict = Owed
		a.State, a.Err = decodeState(id, rest)
	case 's':
		a.Verdict = Settled
	case 'p':
		a.Verdict = Superseded
	case 'e':
		a.Verdict = Early
		a.Wait, a.Err = parseMillis(rest)
	case 'f':
		a.Verdict = Free
	default:
		a.Err = errAnswer(text)
	}
	if a.Err != nil {
		a = Answer{Err: fmt.Errorf("claim task %s: %w", id, a.Err)}
	}
	return a
}

func millis(d time.Duration) int64 { return d.Milliseconds() }

func parseMillis(text string) (time.Duration, error) {
	ms, err := strconv.ParseInt(text, 10, 64)
	return time.Duration(ms) * time.Millisecond, err
}

// checkName checks the parts of a lease value.
func checkName(what, name string) error {
	if name == "" || len(name) > 200 || strings.ContainsRune(name, '|') {
		return fmt.Errorf("%w: %s %q: 1 to 200 bytes without |", ErrInvalid, what, name)
	}
	return nil
}
