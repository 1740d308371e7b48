//go:build synctests

package sim

import (
	"bytes"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// await waits until every accepted task has ended and every record is
// finished, at most so long.
func (o *observer) await(limit time.Duration) {
	for deadline := time.Now().Add(limit); !o.failed(); time.Sleep(time.Second) {
		open := o.open()
		if open == "" {
			time.Sleep(5 * time.Second) // for what is still to be committed, or wrong
			return
		}
		if time.Now().After(deadline) {
			o.violate(I1, "after %s without faults: %s", limit, open)
			return
		}
	}
}

// open names something that is not finished.
func (o *observer) open() string {
	o.lookAtRedis()
	ends := o.logEnds()
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, t := range o.tasks {
		if !o.ended(id) {
			return id + " (" + t.load.name + ") has no event"
		}
	}
	for p, end := range ends {
		switch p.topic {
		case "tasks.results", "tasks.dead-letter":
			continue
		}
		if o.log.commits[p] < end {
			return "records of " + p.topic + " are not committed"
		}
	}
	return ""
}

// judgeEnd judges the outcomes when all is over.
func (o *observer) judgeEnd() {
	o.lookAtRedis()
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, t := range o.redis.terminal {
		if len(o.log.events[key]) == 0 {
			o.broken(I4, "%s replay %d was %c in Redis %s ago, and has no event", key.id, key.replay, t.status, time.Since(t.at))
		}
	}
	for id, t := range o.tasks {
		for replay := range t.replays {
			o.judgeOutcome(t, o.log.events[outcomeKey{id, replay}][0])
		}
		for _, l := range o.log.letters[id] {
			if !bytes.Equal(l.value, t.params) {
				o.broken(I9, "%s: its dead letter has other parameters", id)
			}
		}
		if lease := o.redis.leases[id]; lease != "" {
			o.broken(I2, "%s has ended and still has the lease %q", id, lease)
		}
	}
}

// judgeOutcome compares how a task ended with what it was told to do.
func (o *observer) judgeOutcome(t *taskInfo, e event) {
	switch {
	case e.Status == t.load.ends:
	case e.Status == task.Cancelled && t.cancelled:
	case e.Status == task.Failed && e.Reason == task.WorkerLost && (t.load.script.Kill || o.stats.Crashes > 2):
	default:
		o.broken(I13, "%s (%s) ended as %s (%s %s)", t.id, t.load.name, e.Status, e.Reason, e.Error)
	}
	if t.load.script.Effect && e.Status == task.Success && o.effects[t.id] != 1 {
		o.broken(I6, "%s succeeded with %d effects", t.id, o.effects[t.id])
	}
}
