package datanode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// askTimeout bounds one question to the queue: a queue that does not answer must not keep merges from running here.
const askTimeout = 5 * time.Second

// tendMerges brings the shard's merges up to date, and plans new ones, whenever something has changed, until ctx ends.
func (sh *Shard) tendMerges(ctx context.Context) error {
	for {
		sh.tend(ctx)
		timer := time.NewTimer(sh.pollEvery())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-sh.replan:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pollEvery is shorter while merges are offline.
func (sh *Shard) pollEvery() time.Duration {
	if _, remote, _ := sh.merges.load(); remote > 0 {
		return sh.node.cfg.Poll / 5
	}
	return sh.node.cfg.Poll
}

func (sh *Shard) tend(ctx context.Context) {
	sh.settleMerges(ctx)
	for _, t := range sh.merges.each() {
		sh.tendOne(ctx, t)
	}
	if _, err := sh.plan(ctx, func(free []shard.Segment) ([][]shard.Segment, error) {
		return planMerges(free, sh.node.cfg.Plan)
	}, "", true); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNotWriter) {
		sh.log.Error("merges not planned", "error", err)
	}
}

// settleMerges ends the merges whose inputs are gone: the manifest is the truth, whatever else was heard.
func (sh *Shard) settleMerges(ctx context.Context) {
	m, err := sh.newestManifest()
	if err != nil {
		return
	}
	for _, t := range sh.merges.each() {
		if t.inputsIn(m) {
			continue
		}
		if t.Where == Remote && sh.merges.final(t) == nil {
			sh.ask(ctx, t) // the manifest is ahead of the event: who ran it, and what it moved
		}
		status := Superseded
		if allocation, ok := t.appliedIn(m); ok {
			status = Committed
			sh.merges.update(t, func(t *tracked) {
				if t.Where == Local && t.allocation != allocation { // an offline node was faster, after all
					t.Where, t.Reason = Remote, t.Reason+"; an offline node committed it first"
				}
			})
		}
		sh.endMerge(ctx, t, status, "")
	}
}

func (sh *Shard) endMerge(ctx context.Context, t *tracked, status MergeStatus, why string) {
	if t.stop != nil {
		t.stop()
	}
	sh.merges.update(t, func(t *tracked) {
		if t.final != nil && t.Where == Remote {
			t.Node, t.Moved, t.Attempt = t.final.Node, t.final.BytesMoved, t.final.Attempt
		}
	})
	m := sh.merges.end(t, status, why)
	sh.node.metrics.merge(ctx, &m)
	log := sh.log.Info
	if status == Failed {
		log = sh.log.Warn
	}
	log("merge ended", "merge", m.ID, "status", string(status), "where", string(m.Where), "reason", m.Reason,
		"segments", len(m.Inputs), "bytes", m.Bytes, "took_ms", m.TookMS, "error", why)
	poke(sh.replan)
}

// tendOne moves one merge on.
func (sh *Shard) tendOne(ctx context.Context, t *tracked) {
	if t.Where == Remote {
		sh.tendRemote(ctx, t)
		return
	}
	sh.merges.mu.Lock()
	started, ended, err := t.stop != nil, t.localEnded, t.localErr
	sh.merges.mu.Unlock()
	switch {
	case !started:
		sh.startLocal(ctx, t)
	case !ended || ctx.Err() != nil:
	case err != nil:
		sh.endMerge(ctx, t, Failed, err.Error())
	default:
		sh.confirm(ctx, t)
	}
}

// confirm looks for the effect of a merge that is said to be done.
func (sh *Shard) confirm(ctx context.Context, t *tracked) {
	if err := sh.follow(ctx); err != nil {
		sh.log.Warn("merge is done, but the store cannot be asked: trying again", "error", err, "merge", t.ID)
		return
	}
	sh.settleMerges(ctx)
	if m, err := sh.newestManifest(); err != nil || !t.inputsIn(m) {
		return
	}
	const why = "it was said to be done, but the shard does not show it"
	if t.Where == Remote {
		sh.giveUpRemote(ctx, t, Failed, why)
		return
	}
	sh.endMerge(ctx, t, Failed, why)
}

// tendRemote looks after a merge that is a task.
func (sh *Shard) tendRemote(ctx context.Context, t *tracked) {
	if t.submitted.IsZero() {
		sh.submit(ctx, t)
		return
	}
	if sh.merges.final(t) == nil {
		sh.ask(ctx, t)
	}
	sh.merges.mu.Lock()
	final, status, waited := t.final, t.Status, time.Since(t.submitted)
	sh.merges.mu.Unlock()
	offline := sh.node.Offline()
	switch {
	case final != nil:
		sh.remoteEnded(ctx, t, final)
	case status != Waiting || offline.Merge == Always:
	case offline.Merge == Off:
		sh.takeBack(ctx, t, "offline.merge was set to off")
	case waited > offline.MaxQueueAge:
		sh.takeBack(ctx, t, fmt.Sprintf("no offline node took it within offline.max_queue_age (%s)", offline.MaxQueueAge))
	}
}

// submit makes the merge a task. In Auto, a queue that does not take it is no reason to wait.
func (sh *Shard) submit(ctx context.Context, t *tracked) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := sh.node.cfg.Queue.Submit(asking, t.ID, merge.Type, t.params)
	switch {
	case err == nil:
		sh.merges.update(t, func(t *tracked) { t.submitted, t.Note = time.Now(), "" })
	case ctx.Err() != nil:
	case sh.node.Offline().Merge == Always:
		sh.merges.update(t, func(t *tracked) { t.Note = "not submitted, trying again: " + err.Error() })
		sh.log.Warn("merge not submitted: trying again", "error", err, "merge", t.ID)
	default: // it may be accepted all the same: then the first of the two commits wins
		sh.takeBack(ctx, t, fmt.Sprintf("it could not be submitted (%v)", err))
	}
}

// ask looks up where the task stands: events can be lost, and only the state has the progress.
func (sh *Shard) ask(ctx context.Context, t *tracked) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	state, err := sh.node.cfg.Queue.State(asking, t.ID)
	if err != nil || state == nil {
		if err != nil && ctx.Err() == nil {
			sh.log.Warn("state of merge unknown: asking again", "error", err, "merge", t.ID)
		}
		return
	}
	sh.merges.update(t, func(t *tracked) {
		t.Progress, t.Note, t.Node, t.Attempt, t.Moved = state.Fraction, state.Note, state.Node, state.Attempt, state.BytesMoved
		switch {
		case state.Status.Terminal():
			if t.final == nil {
				t.final = &task.Event{
					TaskID: t.ID, Status: state.Status, Attempt: state.Attempt, Node: state.Node,
					BytesMoved: state.BytesMoved, Error: state.Error,
				}
			}
		case state.Status == task.Unassigned:
			t.Status, t.Note = Waiting, state.Explanation
		default:
			t.Status, t.StartedAt = Running, state.StartedAt
		}
	})
}

func (sh *Shard) remoteEnded(ctx context.Context, t *tracked, e *task.Event) {
	switch e.Status {
	case task.Success:
		sh.confirm(ctx, t)
	case task.Cancelled:
		sh.endMerge(ctx, t, Cancelled, orText(e.Error, "its task was cancelled"))
	default:
		sh.giveUpRemote(ctx, t, Failed, orText(e.Error, "its task failed"))
	}
}

// giveUpRemote merges here what failed elsewhere, unless that is ruled out.
func (sh *Shard) giveUpRemote(ctx context.Context, t *tracked, status MergeStatus, why string) {
	if sh.node.Offline().Merge == Always {
		sh.endMerge(ctx, t, status, why)
		return
	}
	sh.goLocal(ctx, t, "it failed offline: "+why)
}

// takeBack cancels the task and merges here. An offline node that has begun meanwhile does no harm: one commit wins.
func (sh *Shard) takeBack(ctx context.Context, t *tracked, why string) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := sh.node.cfg.Queue.Cancel(asking, t.ID); err != nil && ctx.Err() == nil {
		sh.log.Warn("task of a merge that is taken back not cancelled", "error", err, "merge", t.ID)
	}
	sh.goLocal(ctx, t, why)
}

func (sh *Shard) goLocal(ctx context.Context, t *tracked, why string) {
	sh.log.Info("merge comes back", "merge", t.ID, "reason", why)
	sh.merges.update(t, func(t *tracked) {
		t.Where, t.Status, t.Reason, t.final = Local, Waiting, "taken back: "+why, nil
		t.Progress, t.Note, t.Node, t.Attempt = 0, "", sh.node.cfg.Name, 0
	})
	sh.startLocal(ctx, t)
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
