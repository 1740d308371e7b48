package history

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// Settings of the leases in a history.
const (
	lease = 150 * time.Millisecond
	beat  = lease / 4
	// slack is how inexact Redis' clock may be: it counts milliseconds, and
	// reads the time once per command.
	slack = 5 * time.Millisecond
)

// verb is what was asked.
type verb uint8

const (
	claim verb = iota
	renew
	succeed
	fail
	cancel
	forget // Redis lost everything
	warm   // and is open for claims again
)

var verbNames = [...]string{"claim", "renew", "succeed", "fail", "cancel", "forget", "warm"}

// reply is what was answered.
type reply uint8

const (
	unknown reply = iota // no answer: it was done, or not, or will be
	cold
	granted
	held
	owed // it has ended
	kept
	keptCancel
	lost
	done
	doneCancelled
	stale
	cancelled
	requested
	tooLate
)

var replyNames = [...]string{"unknown", "cold", "granted", "held", "owed", "kept", "kept, cancel", "lost", "done", "done, cancelled", "stale", "cancelled", "requested", "too late"}

// question is one call about one task. A claim is known by its nonce.
type question struct {
	verb       verb
	id, nonce  string
	asked, end time.Duration // since the history's start; end is the last moment at which it can have been done
}

type answer struct {
	reply reply
	token int64 // of a granted claim
}

// status of a task in the model.
type status uint8

const (
	absent status = iota
	running
	ended
	endedCancelled
)

// state is what the protocol must remember of one task.
type state struct {
	status    status
	nonce     string // of the newest claim
	top       int64  // highest token that was told
	leased    bool   // unless it has run out:
	from, to  time.Duration
	changed   time.Duration // not after; when it ended
	requested bool
	cold      bool
}

// model is one task's.
var model = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		byID := map[string]int{}
		for _, o := range history {
			id := o.Input.(question).id
			i, ok := byID[id]
			if !ok {
				i = len(parts)
				byID[id], parts = i, append(parts, nil)
			}
			parts[i] = append(parts[i], o)
		}
		return parts
	},
	Init: func() []any { return []any{state{}} },
	Step: func(s, input, output any) (next []any) {
		for _, n := range step(s.(state), input.(question), output.(answer)) {
			next = append(next, n)
		}
		return next
	},
	DescribeOperation: func(input, output any) string {
		q, a := input.(question), output.(answer)
		return fmt.Sprintf("%s %s: %s %d", verbNames[q.verb], q.nonce, replyNames[a.reply], a.token)
	},
}

// step returns the states that may follow; none: the answer was wrong. An
// unknown answer stands for every effect that the question can have had.
func step(s state, q question, a answer) []state {
	var next []state
	add := func(r reply, n state) {
		if a.reply == r || a.reply == unknown {
			next = append(next, n)
		}
	}
	if a.reply == unknown {
		next = append(next, s)
	}
	current := s.status == running && s.nonce == q.nonce
	switch q.verb {
	case forget:
		return []state{{top: s.top, cold: true}}
	case warm:
		s.cold = false
		return []state{s}
	case claim:
		if s.cold {
			add(cold, s)
			return next
		}
		s.claimed(q, a, add)
	case renew:
		n := s.hold(q)
		switch {
		case current || s.status == absent: // absent: Redis forgot, and the lease is put back
			if s.requested {
				add(keptCancel, n)
			} else {
				add(kept, n)
			}
		default:
			add(lost, s)
		}
	case succeed, fail:
		s.settled(q, current, add)
	case cancel:
		if s.cold {
			add(cold, s)
			return next
		}
		switch s.status {
		case absent, endedCancelled:
			n := s
			n.status, n.changed = endedCancelled, q.end
			add(cancelled, n)
		case running:
			n := s
			n.requested = true
			add(requested, n)
		case ended:
			add(tooLate, s)
		}
	}
	return next
}

// hold is the state with the lease renewed by q.
func (s state) hold(q question) state {
	s.status, s.nonce, s.leased, s.from, s.to = running, q.nonce, true, q.asked, q.end
	return s
}

// claimed adds what may follow a claim in a warm bucket.
func (s state) claimed(q question, a answer, add func(reply, state)) {
	alive := s.leased && q.end < s.from+lease-slack    // whenever it was asked, the lease had not run out
	possible := s.leased && q.asked < s.to+lease+slack // it may not have
	switch {
	case s.status == ended || s.status == endedCancelled:
		add(owed, s)
		if q.asked < s.changed+beat+slack { // its maker publishes it
			add(held, s)
		}
		return
	case s.nonce == q.nonce && possible: // the same call again
		if a.token >= s.top {
			n := s
			n.top = a.token
			add(granted, n)
		}
	case possible:
		add(held, s)
	}
	switch {
	case alive && s.nonce != q.nonce:
	case s.requested:
		n := s
		n.status, n.leased, n.changed = endedCancelled, false, q.end
		add(owed, n)
		add(held, n) // settled a moment ago by another copy of this call
	case a.reply == unknown:
		add(granted, s.hold(q))
	case a.token > s.top:
		n := s.hold(q)
		n.top = a.token
		add(granted, n)
	}
}

// settled adds what may follow a settlement.
func (s state) settled(q question, current bool, add func(reply, state)) {
	n := s
	n.leased, n.changed, n.nonce = false, q.end, q.nonce
	switch {
	case (current || s.status == absent) && s.requested && q.verb == fail:
		n.status = endedCancelled
		add(doneCancelled, n)
	case current || s.status == absent:
		n.status = ended
		add(done, n)
	case s.status == ended && s.nonce == q.nonce:
		add(done, s)
	case s.status == endedCancelled && s.nonce == q.nonce:
		add(doneCancelled, s)
	default:
		add(stale, s)
	}
}

// forever is the end of a call that was never answered.
const forever = time.Duration(math.MaxInt64 / 4)
