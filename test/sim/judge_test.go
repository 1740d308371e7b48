//go:build synctests

package sim

import (
	"bytes"
	"fmt"
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
		if taken, _ := o.overtaken(id); !o.ended(id) && !taken {
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
		// A record that retention took from under a dead publisher is told as a gap: I11 judges that.
		if taken, _ := o.overtaken(key.id); len(o.log.events[key]) == 0 && !taken {
			o.broken(I4, "%s replay %d was %c in Redis %s ago, and has no event", key.id, key.replay, t.status, time.Since(t.at))
		}
	}
	for _, x := range o.raws {
		o.judgeRaw(x)
	}
	for id, t := range o.tasks {
		for replay := range t.replays {
			if events := o.log.events[outcomeKey{id, replay}]; len(events) > 0 {
				o.judgeOutcome(t, events[0])
			}
		}
		if taken, told := o.overtaken(id); taken && !told && !o.ended(id) {
			o.broken(I11, "%s was deleted before it was read, and nobody tells", id)
		}
		for _, l := range o.log.letters[id] {
			if !bytes.Equal(l.value, t.params) && !t.rival {
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
	case t.rival: // either of the two may be the first
	case e.Status == task.Failed && e.Reason == task.WorkerLost && (t.load.script.Kill || o.stats.Crashes > 2):
	default:
		o.broken(I14, "%s (%s) ended as %s (%s %s)", t.id, t.load.name, e.Status, e.Reason, e.Error)
	}
	// A rival that came first was to have no effect.
	if n := o.effects[t.id]; t.load.script.Effect && e.Status == task.Success && n != 1 && (n != 0 || !t.rival) {
		o.broken(I6, "%s succeeded with %d effects", t.id, n)
	}
}

// raw is a record that no client of ours has written.
type raw struct {
	kind  string
	id    string // of a twin or rival
	value []byte
	place
	offset int64
}

// judgeRaw: a bare record is a task, what cannot be read is set aside whole,
// and so is a second task under one id.
func (o *observer) judgeRaw(x *raw) {
	origin := fmt.Sprintf("%s/%d/%d", x.topic, x.partition, x.offset)
	if o.gone(x.place, x.offset) {
		return
	}
	if x.kind == "bare" {
		if !o.bareEnded(&logRecord{place: x.place, offset: x.offset}) {
			o.broken(I1, "the bare record %s has no outcome", origin)
		}
		return
	}
	t := o.tasks[x.id]
	// Redis compares parameters of one replay, and only while it remembers them.
	rivals := x.kind == "rival" && len(t.replays) == 1 && !o.redis.forgot.After(o.began)
	if t != nil && !rivals {
		return
	}
	for _, letters := range o.log.letters {
		for _, l := range letters {
			if bytes.Equal(l.value, x.value) || rivals && l.reason == string(task.IDConflict) && bytes.Equal(l.value, t.params) {
				return
			}
		}
	}
	o.broken(I9, "the %s record %s has no dead letter with its bytes", x.kind, origin)
}

// overtaken tells whether retention took a record of a task, and whether a
// node has said so.
func (o *observer) overtaken(id string) (taken, told bool) {
	for _, r := range o.log.byID[id] {
		if !o.gone(r.place, r.offset) {
			continue
		}
		taken = true
		for _, g := range o.gaps {
			told = told || g.place == r.place && g.from <= r.offset && r.offset < g.to
		}
	}
	return taken, told
}

// gone tells whether retention has taken an offset.
func (o *observer) gone(p place, offset int64) bool { return offset < o.log.starts[p] }
