package node

import (
	"errors"
	"fmt"
	"time"
)

// stalledAfter is how long a loop may not come round before the node counts as
// hung. Kafka has no limit of its own for that: a group member's heartbeats go
// on whatever its poll loop does.
const stalledAfter = 30 * time.Second

// fullPause is how long nothing new runs where a run found a full disk: one that fails at once would draw the next one.
const fullPause = 10 * time.Second

// Healthy tells whether every loop of the node comes round: an error names
// those that do not, and restarting the process is the cure.
func (s *Service) Healthy() error {
	if !s.running.Load() {
		return nil // starting, or waiting for a server
	}
	now := time.Now()
	var errs []error
	late := func(what string, last time.Time) {
		if age := now.Sub(last); age > stalledAfter {
			errs = append(errs, fmt.Errorf("%s has not come round for %s", what, age.Round(time.Second)))
		}
	}
	late("the beat loop", s.beats.lastAdvance())
	for _, l := range s.lanes {
		late("the claim loop of "+l.def.Type, l.lastAdvance())
		if polled, ok := l.queue.(interface{ LastPoll() time.Time }); ok && !s.draining.Load() {
			late("the poll loop of "+l.def.Type, polled.LastPoll())
		}
	}
	return errors.Join(errs...)
}

// Ready tells whether the node takes tasks: it runs, is not draining, hears
// from Redis, no rebuild holds its claims up, and no run has just found a full disk.
func (s *Service) Ready() error {
	switch {
	case !s.running.Load():
		if server := s.waiting.Load(); server != nil {
			return fmt.Errorf("starting: %s does not answer", *server)
		}
		return errors.New("starting")
	case s.draining.Load():
		return errors.New("draining: nothing new is taken")
	case !s.beats.healthy():
		return errors.New("beats fail: Redis does not answer")
	case s.rebuild.busy():
		return errors.New("states are being read back from the results topic")
	case s.full():
		return errors.New("no space left on a disk: nothing new runs for a while")
	}
	return s.Healthy()
}

// ranOutOfDisk leaves what comes next to other nodes for a while.
func (s *Service) ranOutOfDisk(err error) {
	now := time.Now()
	if s.fullUntil.Swap(now.Add(fullPause).UnixNano()) < now.UnixNano() {
		s.log.Error("no space left on a disk: nothing new runs here for a while", "pause", fullPause, "error", err)
	}
}

// full tells whether a run has just found no space on a disk.
func (s *Service) full() bool { return time.Now().UnixNano() < s.fullUntil.Load() }
