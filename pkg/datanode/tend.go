package datanode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// askTimeout bounds one question to the queue: a queue that does not answer must not keep merges from running here.
const askTimeout = 5 * time.Second

// pollsOffline is how much more often merges are looked after while some are offline.
const pollsOffline = 5

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
		return sh.node.cfg.Poll / pollsOffline
	}
	return sh.node.cfg.Poll
}

func (sh *Shard) tend(ctx context.Context) {
	sh.settleMerges(ctx)
	for _, t := range sh.merges.each() {
		sh.tendOne(ctx, t)
	}
	sh.planByPolicy(ctx)
}

// settleMerges ends the merges whose inputs are gone: the manifest is the truth, whatever else was heard.
func (sh *Shard) settleMerges(ctx context.Context) {
	m, err := sh.newestManifest()
	if err != nil {
		return
	}
	for _, t := range sh.merges.each() {
		if t.force != nil || t.inputsIn(m) {
			continue // the inputs of a force merge go one after the other
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
	if m.Where == Remote {
		sh.remember()
	}
	sh.node.metrics.merge(ctx, &m)
	log := sh.log.Info
	if status == Failed {
		log = sh.log.Warn
	}
	log("merge ended", "merge", m.ID, "status", string(status), "where", string(m.Where), "reason", m.Reason,
		"segments", len(m.Inputs), "bytes", m.Bytes, "took_ms", m.TookMS, "error", why)
	poke(sh.replan)
}

// tendOne moves one merge on, unless it has ended since it was listed: to look for the effect of one settles all.
func (sh *Shard) tendOne(ctx context.Context, t *tracked) {
	if !sh.merges.runs(t) {
		return
	}
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
	if t.submitted.IsZero() && t.back == "" {
		sh.submit(ctx, t)
		return
	}
	if sh.merges.final(t) == nil {
		sh.ask(ctx, t)
	}
	if final := sh.merges.final(t); final != nil {
		sh.remoteEnded(ctx, t, final)
		return
	}
	if why := sh.wantedBack(ctx, t); why != "" {
		sh.takeBack(ctx, t, why)
	}
}

// wantedBack says why a merge that is a task should run here after all; "" when it should not.
func (sh *Shard) wantedBack(ctx context.Context, t *tracked) string {
	if t.back != "" {
		return t.back
	}
	offline := sh.node.Offline()
	sh.merges.mu.Lock()
	waits, waited := t.Status == Waiting, time.Since(t.submitted)
	sh.merges.mu.Unlock()
	switch {
	case offline.Merge == Always:
		return ""
	case offline.Merge == Off && waits:
		return "offline.merge was set to off"
	case waits && waited > offline.MaxQueueAge:
		return fmt.Sprintf("no offline node took it within offline.max_queue_age (%s)", offline.MaxQueueAge)
	}
	fleet, err := sh.node.fleet(ctx)
	if err == nil && fleet.Nodes == 0 && (waits || fleet.Draining == 0) {
		return "no offline node is alive any more"
	}
	return ""
}

// submit makes the merge a task. In Auto, a queue that does not take it is no reason to wait.
func (sh *Shard) submit(ctx context.Context, t *tracked) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := sh.node.cfg.Queue.Submit(asking, t.ID, t.Type, t.taskParams())
	switch {
	case err == nil:
		sh.merges.update(t, func(t *tracked) { t.submitted, t.Note = time.Now(), "" })
		sh.remember()
	case ctx.Err() != nil:
	case sh.node.Offline().Merge == Always:
		sh.merges.update(t, func(t *tracked) { t.Note = "not submitted, trying again: " + err.Error() })
		sh.log.Warn("merge not submitted: trying again", "error", err, "merge", t.ID)
	case errors.Is(err, ErrUnknown):
		sh.takeBack(ctx, t, fmt.Sprintf("it is unknown whether it was submitted (%v)", err))
	default:
		sh.goLocal(ctx, t, fmt.Sprintf("it could not be submitted (%v)", err))
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
		case state.Status == task.Unassigned && (t.force == nil || state.StartedAt.IsZero()):
			t.Status, t.Note = Waiting, state.Explanation
		default: // also a force merge that waits for its merges
			t.Status, t.StartedAt = Running, state.StartedAt
		}
	})
}

func (sh *Shard) remoteEnded(ctx context.Context, t *tracked, e *task.Event) {
	switch {
	case e.Status == task.Success && t.force != nil:
		if err := sh.follow(ctx); err != nil {
			sh.log.Warn("force merge is done, but the store cannot be asked: trying again", "error", err, "merge", t.ID)
			return
		}
		sh.endMerge(ctx, t, Committed, "")
	case e.Status == task.Success:
		sh.confirm(ctx, t)
	case e.Status == task.Cancelled && t.back != "":
		sh.goLocal(ctx, t, t.back)
	case e.Status == task.Cancelled:
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

// cancelMerges is best effort: whoever commits to a shard that is not there any more finds that out.
func (sh *Shard) cancelMerges(ctx context.Context) {
	for _, t := range sh.merges.each() {
		if t.Where != Remote {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		if err := sh.node.cfg.Queue.Cancel(asking, t.ID); err != nil {
			sh.log.Warn("merge of a shard that is dropped not cancelled", "error", err, "merge", t.ID)
		}
		cancel()
	}
}

// takeBack cancels the task, and merges here once it is known that no offline node does: the task has ended, or there is no
// node at all any more that could hold it. Until then it is asked for again, whatever the settings say meanwhile.
func (sh *Shard) takeBack(ctx context.Context, t *tracked, why string) {
	if t.back == "" {
		sh.log.Info("merge is taken back", "merge", t.ID, "reason", why)
	}
	sh.merges.update(t, func(t *tracked) { t.back = why })
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := sh.node.cfg.Queue.Cancel(asking, t.ID); err != nil {
		if ctx.Err() == nil {
			sh.log.Warn("task of a merge that is taken back not cancelled: trying again", "error", err, "merge", t.ID)
			sh.merges.update(t, func(t *tracked) {
				t.Note = fmt.Sprintf("to be taken back: %s; its task is not cancelled yet: %v", why, err)
			})
		}
		return
	}
	sh.ask(ctx, t)
	if final := sh.merges.final(t); final != nil {
		sh.remoteEnded(ctx, t, final)
		return
	}
	fleet, err := sh.node.fleet(ctx)
	if err == nil && fleet.Nodes == 0 && fleet.Draining == 0 {
		sh.goLocal(ctx, t, why)
		return
	}
	sh.merges.update(t, func(t *tracked) { t.Note = "to be taken back: " + why + "; a node that runs it is told to stop" })
}

// goLocal runs a merge here that was to run offline. A force merge is planned anew: a part of it may be done.
func (sh *Shard) goLocal(ctx context.Context, t *tracked, why string) {
	sh.log.Info("merge comes back", "merge", t.ID, "reason", why)
	if t.force != nil {
		sh.merges.update(t, func(t *tracked) { t.back = why })
		sh.endMerge(ctx, t, Cancelled, why)
		p := forcing(*t.force)
		p.local = "taken back: " + why
		if _, err := sh.plan(ctx, p); err != nil && ctx.Err() == nil {
			sh.log.Warn("force merge that was taken back not planned", "error", err, "merge", t.ID)
		}
		return
	}
	sh.merges.update(t, func(t *tracked) {
		t.Where, t.Status, t.Reason, t.final, t.back = Local, Waiting, "taken back: "+why, nil, ""
		t.Progress, t.Note, t.Node, t.Attempt = 0, "", sh.node.cfg.Name, 0
	})
	sh.remember()
	sh.startLocal(ctx, t)
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
