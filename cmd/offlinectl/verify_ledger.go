package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// ledger keeps what is known of every task of a run, and judges events as they come. It is safe for concurrent use.
type ledger struct {
	prefix string
	late   time.Duration

	mu        sync.Mutex
	tasks     map[string]*entry
	count     tally
	took      []time.Duration
	refusal   error
	unsaid    []string // violations that nobody was told of
	failures  map[task.Reason]int
	offenders []string // tasks with two outcomes
}

// entry is one task.
type entry struct {
	acceptedAt time.Time
	outcome    *outcome
	refused    bool
	twice      bool
}

// outcome is what tells one outcome from another.
type outcome struct {
	at         time.Time
	status     task.Status
	replay     int
	attempt    int
	allocation int64
	node       string
}

func (o *outcome) String() string {
	return fmt.Sprintf("%s of run %d on %s (attempt %d)", o.status, o.allocation, o.node, o.attempt)
}

func (o *outcome) same(p *outcome) bool {
	return o.status == p.status && o.attempt == p.attempt && o.allocation == p.allocation
}

// tally is where a run stands.
type tally struct {
	Published   int `json:"published"`
	Accepted    int `json:"accepted"`
	Outstanding int `json:"-"` // no answer of Kafka, or no outcome
	Succeeded   int `json:"succeeded"`
	Failed      int `json:"failed"`
	Cancelled   int `json:"cancelled"`
	Lost        int `json:"lost"`
	TwoOutcomes int `json:"two_outcomes"`
	Stale       int `json:"stale"`
	Repeated    int `json:"repeated"`
	Late        int `json:"late"`
	Unknown     int `json:"unknown"`
	Refused     int `json:"refused"`
}

func newLedger(run string, late time.Duration) *ledger {
	return &ledger{prefix: run + "-", late: late, tasks: map[string]*entry{}, failures: map[task.Reason]int{}}
}

// published notes that a task is on its way to Kafka.
func (l *ledger) published(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks[id] = &entry{}
	l.count.Published++
	l.count.Outstanding++
}

// accepted notes that Kafka has a task. Its outcome may have come before the answer.
func (l *ledger) accepted(id string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.tasks[id]
	e.acceptedAt = now
	l.count.Accepted++
	if e.outcome != nil {
		l.judge(e)
	}
}

func (l *ledger) refused(id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks[id].refused = true
	l.count.Refused++
	l.count.Outstanding--
	if l.refusal == nil {
		l.refusal = err
	}
}

// hopeless tells that Kafka refuses what is published, and has accepted nothing.
func (l *ledger) hopeless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count.Accepted == 0 && l.refusal != nil
}

// heard judges an event. Those of other tasks are none of its business.
func (l *ledger) heard(ev *task.Event, now time.Time) {
	if !strings.HasPrefix(ev.TaskID, l.prefix) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.tasks[ev.TaskID]
	if e == nil {
		return // its prefix is ours by chance
	}
	o := &outcome{at: now, status: ev.Status, replay: ev.Replay, attempt: ev.Attempt, allocation: ev.AllocationID, node: ev.Node}
	switch before := e.outcome; {
	case before == nil:
		l.first(e, o, ev.Reason)
	case before.replay != o.replay: // somebody redrives the dead letters of a run while it is judged
	case before.same(o):
		l.count.Repeated++
	default:
		l.second(ev.TaskID, e, o)
	}
}

func (l *ledger) first(e *entry, o *outcome, reason task.Reason) {
	e.outcome = o
	switch o.status {
	case task.Success:
		l.count.Succeeded++
	case task.Failed:
		l.count.Failed++
		l.failures[reason]++
	default:
		l.count.Cancelled++
	}
	if !e.acceptedAt.IsZero() {
		l.judge(e)
	}
}

// judge is for a task that is accepted and has its outcome.
func (l *ledger) judge(e *entry) {
	l.count.Outstanding--
	took := max(e.outcome.at.Sub(e.acceptedAt), 0)
	l.took = append(l.took, took)
	if took > l.late {
		l.count.Late++
	}
}

// second is an event that says something else than the one before it.
func (l *ledger) second(id string, e *entry, o *outcome) {
	if !e.twice {
		e.twice = true
		l.count.TwoOutcomes++
		l.offenders = append(l.offenders, id)
	}
	word := "two outcomes"
	if o.allocation < e.outcome.allocation {
		l.count.Stale++
		word = "a stale outcome"
	}
	l.unsaid = append(l.unsaid, fmt.Sprintf("%s has %s: %s, then %s", id, word, e.outcome, o))
}

// violations returns what nobody was told of yet.
func (l *ledger) violations() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := l.unsaid
	l.unsaid = nil
	return said
}

func (l *ledger) tally() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// open returns the tasks that Kafka has and that have no outcome, and counts those that it never answered for.
func (l *ledger) open() (lost []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.Unknown = 0
	for id, e := range l.tasks {
		switch {
		case e.refused:
		case e.acceptedAt.IsZero() && e.outcome == nil:
			l.count.Unknown++
		case e.outcome == nil:
			lost = append(lost, id)
		}
	}
	slices.Sort(lost)
	l.count.Lost = len(lost)
	return lost
}

// times are the median, the 99th percentile and the worst time from acceptance to outcome.
func (l *ledger) times() (median, most, worst time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		return 0, 0, 0
	}
	slices.Sort(l.took)
	n := len(l.took)
	return l.took[n/2], l.took[min(n*99/100, n-1)], l.took[n-1]
}

// line is a progress line.
func (t *tally) line(passed time.Duration) string {
	parts := []string{fmt.Sprintf("%s  %s accepted, %s outstanding, %s ended", cli.Ago(passed), cli.Thousands(t.Accepted),
		cli.Thousands(t.Outstanding), cli.Thousands(t.Succeeded+t.Failed+t.Cancelled))}
	for _, part := range []struct {
		n    int
		what string
	}{{t.TwoOutcomes, "WITH TWO OUTCOMES"}, {t.Late, "late"}, {t.Repeated, "repeated"}, {t.Refused, "refused"}} {
		if part.n > 0 {
			parts = append(parts, cli.Thousands(part.n)+" "+part.what)
		}
	}
	return strings.Join(parts, ", ")
}
