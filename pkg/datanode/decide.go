package datanode

import (
	"fmt"
	"time"
)

// Where is the place where a merge runs.
type Where string

// The places where merges run.
const (
	Local  Where = "local"
	Remote Where = "offline"
)

// decision is where a merge runs, and why.
type decision struct {
	where  Where
	reason string
}

// situation is what decide looks at.
type situation struct {
	offline  Offline
	hasQueue bool
	bytes    int64 // of the inputs
	fleet    Fleet
	fleetErr error
	waiting  time.Duration // how long the longest of the shard's own has waited for a node
}

// decide says where a merge runs. It is a pure function.
func decide(s situation) decision {
	local := func(format string, args ...any) decision { return decision{Local, fmt.Sprintf(format, args...)} }
	remote := func(format string, args ...any) decision { return decision{Remote, fmt.Sprintf(format, args...)} }
	switch {
	case s.offline.Merge == Off:
		return local("offline.merge is off")
	case !s.hasQueue:
		return local("this node has no task queue")
	case s.offline.Merge == Always:
		return remote("offline.merge is always")
	case s.bytes < s.offline.MinBytes:
		return local("%s to merge is less than offline.min_bytes (%s)", size(s.bytes), size(s.offline.MinBytes))
	case s.fleetErr != nil:
		return local("the fleet cannot be asked: %v", s.fleetErr)
	case s.fleet.Nodes == 0:
		return local("no offline node is alive")
	case s.fleet.Slots == 0:
		return local("%s alive, but without a slot for merges", plural(s.fleet.Nodes, "offline node"))
	case s.waiting > s.offline.MaxQueueAge:
		return local("a merge of ours has waited %s for an offline node, more than offline.max_queue_age (%s)",
			s.waiting.Round(time.Second), s.offline.MaxQueueAge)
	case s.depth() > s.offline.MaxQueueDepth:
		return local("%d tasks wait for a slot, more than offline.max_queue_depth (%d)", s.depth(), s.offline.MaxQueueDepth)
	case s.busy() && s.fleet.Oldest > s.offline.MaxQueueAge:
		return local("the queue is %s old, more than offline.max_queue_age (%s)", s.fleet.Oldest.Round(time.Second), s.offline.MaxQueueAge)
	}
	return remote("%s with %s, %d in use; %s to merge",
		plural(s.fleet.Nodes, "offline node"), plural(s.fleet.Slots, "slot"), max(s.fleet.Running, 0), size(s.bytes))
}

// busy tells that a task sent now would have to wait: old tasks that run are no backlog.
func (s situation) busy() bool {
	return s.fleet.Running >= s.fleet.Slots || s.fleet.Waiting > int64(s.fleet.Running)
}

// depth is how many tasks wait for a slot, as far as is known.
func (s situation) depth() int64 { return max(s.fleet.Waiting-int64(s.fleet.Running), 0) }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
