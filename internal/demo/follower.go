package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// follower tells what becomes of merges, as the data node and the states of
// their tasks show it. It belongs to one goroutine.
type follower struct {
	node    *dataNode
	queue   *client.Client
	console *console

	tales map[string]*tale
	told  map[string]bool // ids of merges that are told in full
	err   error           // of the last look
}

// tale is one merge and how much of it was told.
type tale struct {
	mergeState
	task *claims.State // nil: nothing is known yet

	claimed bool // told
	ended   bool
	moved   map[int64]int64 // bytes by claim
}

func newFollower(node *dataNode, queue *client.Client, c *console) *follower {
	return &follower{node: node, queue: queue, console: c, tales: map[string]*tale{}, told: map[string]bool{}}
}

// lookTimeout bounds one look: the story goes on without one.
const lookTimeout = 3 * time.Second

// look asks how things are and tells what is new.
func (f *follower) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	merges, err := f.node.merges(ctx)
	if err != nil {
		f.err = err
		return
	}
	var ids []string
	for _, m := range slices.Backward(merges) { // the oldest first
		t := f.tale(m)
		if t.Where == "offline" && !t.ended {
			ids = append(ids, t.ID)
		}
	}
	if len(ids) > 0 {
		states, err := f.queue.States(ctx, ids)
		if err != nil {
			f.err = err
			return
		}
		for i, id := range ids {
			f.claimed(f.tales[id], states[i])
		}
	}
	for _, id := range ids {
		f.over(f.tales[id])
	}
	f.err = nil
}

// tale takes in what the data node says of a merge.
func (f *follower) tale(m mergeState) *tale {
	t := f.tales[m.ID]
	if t == nil {
		t = &tale{moved: map[int64]int64{}}
		f.tales[m.ID] = t
	}
	t.mergeState = m
	return t
}

// claimed tells who runs a merge.
func (f *follower) claimed(t *tale, s *claims.State) {
	if s == nil {
		return
	}
	t.task = s
	t.moved[s.AllocationID] = max(t.moved[s.AllocationID], s.BytesMoved)
	if t.claimed || !f.told[t.ID] || runnerOf(s) == "" {
		return
	}
	t.claimed = true
	f.console.say(runnerOf(s), "claims %s: attempt %d, allocation id %d; its lease lasts %s unless it is renewed",
		short(t.ID), s.Attempt, s.AllocationID, s.Lease.Round(time.Second))
}

// runner is the node that runs a merge, or ran it last. The data node does not
// know that of one that was over before it asked.
func (t *tale) runner() string {
	if t.Node == "" && t.task != nil {
		return runnerOf(t.task)
	}
	return t.Node
}

// runnerOf is the node that has a task's lease, or had it last. The lease is
// newer than what the node tells with its beats.
func runnerOf(s *claims.State) string {
	if name, _, ok := strings.Cut(s.Holder, "/"); ok {
		return name
	}
	return s.Node
}

// over tells how a merge ended.
func (f *follower) over(t *tale) {
	if t.underWay() {
		return
	}
	t.ended = true
	if t.Status != "committed" && t.Status != "superseded" {
		f.console.say("data node", "%s is %s: %s", short(t.ID), t.Status, t.Error)
	}
}

// progress shows how far a merge is.
func (f *follower) progress(t *tale) {
	if t.task == nil || t.task.Status != task.Active || t.ended {
		return
	}
	f.console.show(runnerOf(t.task), "%s %s %.0f %%%s", short(t.ID), cli.Bar(t.task.Fraction, 20), 100*t.task.Fraction, note(t.task.Note))
}

func note(text string) string {
	if text == "" {
		return ""
	}
	return ", " + text
}

// short is an id that people can tell from others.
func short(id string) string {
	kind, hash, ok := strings.Cut(id, "-")
	if !ok {
		return cut(id, 12)
	}
	return fmt.Sprintf("%s-%s", kind, cut(hash, 6))
}

// busy lists the merges that have not ended.
func (f *follower) busy() (underWay int) {
	for _, t := range f.tales {
		if t.underWay() {
			underWay++
		}
	}
	return underWay
}

// sum counts the merges that were committed.
func (f *follower) sum() Merges {
	m := Merges{ByNode: map[string]int{}}
	for _, t := range f.tales {
		for _, bytes := range t.moved {
			m.BytesMoved += bytes
		}
		switch {
		case t.Status != "committed":
		case t.Where == "offline":
			m.Offline++
			m.ByNode[t.runner()]++
			m.BytesIn += t.Bytes
		default:
			m.Local++
		}
	}
	return m
}

// tell makes a merge one that is told in full.
func (f *follower) tell(m mergeState) *tale {
	f.told[m.ID] = true
	return f.tale(m)
}

// bytesUnderWay is the size of the segments that are being merged.
func (f *follower) bytesUnderWay() (bytes int64) {
	for _, t := range f.tales {
		if t.underWay() {
			bytes += t.Bytes
		}
	}
	return bytes
}
