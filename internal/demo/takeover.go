package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	// killAt is how far a merge is when its node is killed, 0 to 1. Nodes tell
	// it with their beats, which are seconds apart: killAfter is for how long the
	// next one is waited for, as the merge may be over by then.
	killAt    = 0.3
	killAfter = 2500 * time.Millisecond
	// mergeLimit is how long a merge may take, on cores that others use too.
	mergeLimit = 10 * time.Minute
	// calmTime is for how long the end of large merges is waited for before
	// one of everything is planned.
	calmTime = 15 * time.Second
	// hastyEvery is how often is looked for a merge that was too quick.
	hastyEvery = 20 * time.Millisecond
	// tries is how often a merge may be too quick to be killed.
	tries = 5
)

// errQuick says that a merge was over before anybody could kill its node.
var errQuick = errors.New("the merge was over before its node could be killed")

// during has everything merged by offline nodes and kills the one that does.
func (s *story) during(ctx context.Context) error {
	s.console.title("during: offline nodes merge, and the one at work is killed")
	if err := s.calm(ctx); err != nil {
		return err
	}
	if err := s.node.mergeWhere(ctx, "always"); err != nil {
		return err
	}
	s.console.say("data node", "offline.merge is always from now on: every merge becomes a task")
	s.meter.begin()
	err := errQuick
	for i := 0; i < tries && errors.Is(err, errQuick); i++ {
		main, failure := s.plan(ctx)
		if failure != nil {
			return failure
		}
		if err = s.kill(ctx, main, i > 0); errors.Is(err, errQuick) {
			s.console.say("demo", "%s was merged before its node could be killed: once more", short(main.ID))
			err = errors.Join(err, s.calm(ctx))
		}
	}
	if err != nil {
		return err
	}
	s.report.During, err = s.phase(ctx)
	return err
}

// calm waits a while for large merges to end: what is being merged cannot be
// part of another merge.
func (s *story) calm(ctx context.Context) error {
	until := time.Now().Add(calmTime)
	return s.until(ctx, mergeLimit, "end the merges before", func() (bool, error) {
		now, err := s.node.stats(ctx)
		return s.follower.bytesUnderWay() < now.Bytes/4 || time.Now().After(until), err
	})
}

// plan has nearly the whole shard merged into one segment.
func (s *story) plan(ctx context.Context) (*tale, error) {
	planned, err := s.node.forceMerge(ctx, 1)
	if err != nil {
		return nil, err
	}
	if len(planned) == 0 {
		return nil, errors.New("the data node plans no merge: all segments are being merged already")
	}
	main := s.follower.tell(planned[0])
	s.console.say("data node", "plans %s: %d segments, %s, into one; the task is in Kafka", short(main.ID), len(main.Inputs), cli.Size(main.Bytes))
	return main, nil
}

// kill waits until a node is in the middle of the merge, kills it, and follows
// the merge to its end. A hasty one does not wait for the middle.
func (s *story) kill(ctx context.Context, main *tale, hasty bool) error {
	var active time.Time
	if hasty {
		s.every = hastyEvery
	}
	err := s.until(ctx, mergeLimit, "merge", func() (bool, error) {
		s.follower.progress(main)
		switch t := main.task; {
		case main.ended || t != nil && t.Status.Terminal():
			return false, errQuick
		case hasty && t != nil && t.Lease > 0:
			return true, nil
		case t == nil || t.Status != task.Active:
			return false, nil
		case active.IsZero():
			active = time.Now()
		}
		return main.task.Fraction >= killAt || time.Since(active) > killAfter, nil
	})
	s.every = lookEvery
	if err != nil {
		return err
	}
	victim := s.fleet.node(runnerOf(main.task))
	if victim == nil {
		return fmt.Errorf("%s is run by %q, which the demo did not start", short(main.ID), runnerOf(main.task))
	}
	r := &recovery{story: s, main: main, victim: victim.name, allocation: main.task.AllocationID, held: s.fleet.held(ctx, victim)}
	victim.kill()
	r.killed = time.Now()
	s.report.Recovery = Recovery{
		Killed: victim.name, Task: main.ID, Progress: round(main.task.Fraction, 2), Limit: s.place.limit().Seconds(),
	}
	s.console.say("demo", "kill -9 %s (pid %d) at %.0f %% of %s, as far as it has told. Lost: what this run has done, but not the task. Nobody is told: its lease runs on for %.1f s",
		victim.name, victim.pid(), 100*main.task.Fraction, short(main.ID), main.task.Lease.Seconds())
	return r.follow(ctx)
}

// recovery is how a task goes on whose node was killed.
type recovery struct {
	story  *story
	main   *tale
	victim string
	killed time.Time

	allocation int64              // of the run that was killed
	held       map[string]float64 // claims that were answered "held", by node, before
	parked     bool               // told
	claimed    time.Time          // again
}

// follow tells what happens until the merge is committed and searched.
func (r *recovery) follow(ctx context.Context) error {
	s := r.story
	if err := s.until(ctx, mergeLimit, "take over and merge", func() (bool, error) {
		r.park(ctx)
		r.takeOver()
		return r.ended()
	}); err != nil {
		return err
	}
	ended := r.main.EndedAt
	if ended.IsZero() {
		ended = time.Now()
	}
	s.report.Recovery.Committed = round(ended.Sub(r.killed).Seconds(), 1)
	return r.swapped(ctx)
}

// park tells when another node has got the record and waits for the lease.
func (r *recovery) park(ctx context.Context) {
	if r.parked || !r.claimed.IsZero() {
		return
	}
	for name, now := range r.story.fleet.held(ctx, nil) {
		if before, known := r.held[name]; known && now > before {
			r.parked = true
			r.story.console.say(name, "has got the record of %s from Kafka: the task is leased, so it parks it %.1f s after the kill",
				short(r.main.ID), time.Since(r.killed).Seconds())
			return
		}
	}
}

// takeOver tells who claims the task next.
func (r *recovery) takeOver() {
	s, t := r.story, r.main.task
	switch {
	case !r.claimed.IsZero():
		s.follower.progress(r.main)
	case t.AllocationID == r.allocation && t.Lease > 0:
		s.console.show("demo", "the lease of %s on %s ends in %.1f s", r.victim, short(r.main.ID), t.Lease.Seconds())
	case t.AllocationID == r.allocation:
		s.console.show("demo", "the lease of %s on %s has ended: whoever has the record may claim it", r.victim, short(r.main.ID))
	default:
		r.claimed = t.At
		if now := time.Now(); t.At.Before(r.killed) || t.At.After(now) { // Redis' clock is another
			r.claimed = now
		}
		s.report.Recovery.TakenBy = runnerOf(t)
		s.report.Recovery.Claimed = round(r.claimed.Sub(r.killed).Seconds(), 1)
		s.console.say(runnerOf(t), "takes over %s %.1f s after the kill: attempt %d, allocation id %d, %s",
			short(r.main.ID), s.report.Recovery.Claimed, t.Attempt, t.AllocationID, from(t.Checkpoint))
	}
}

// from says where a run begins.
func from(checkpoint []byte) string {
	if checkpoint == nil {
		return "from the start, as the dead run had left no checkpoint"
	}
	return "from the checkpoint: the result is uploaded, only the commit is left"
}

func (r *recovery) ended() (bool, error) {
	switch {
	case !r.main.ended:
		return false, nil
	case r.main.Status != "committed":
		return false, fmt.Errorf("%s is %s: %s", short(r.main.ID), r.main.Status, r.main.Error)
	case r.claimed.IsZero():
		return false, fmt.Errorf("%s was committed, but nobody claimed it again", short(r.main.ID))
	}
	return true, nil
}

// swapped waits until the data node searches the merged segment.
func (r *recovery) swapped(ctx context.Context) error {
	s := r.story
	var result merge.Result
	if r.main.task.Result != nil {
		if err := json.Unmarshal(r.main.task.Result, &result); err != nil {
			return fmt.Errorf("result of %s: %w", r.main.ID, err)
		}
	}
	s.console.say(r.main.runner(), "committed %s: %d segments, %s, are %d now, %s", short(r.main.ID),
		result.SegmentsIn, cli.Size(result.BytesIn), result.SegmentsOut, cli.Size(result.BytesOut))
	return s.until(ctx, startTimeout, "swap in the new generation", func() (bool, error) {
		now, err := s.node.stats(ctx)
		if err != nil || now.Searchable < result.Generation {
			return false, err
		}
		s.console.say("data node", "has swapped in generation %d under the running searches: %s left",
			result.Generation, cli.Count(now.Segments, "segment"))
		return true, nil
	})
}
