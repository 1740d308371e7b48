package datanode

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhereAMergeRuns(t *testing.T) {
	fleet := Fleet{Nodes: 2, Slots: 4, Running: 1, Waiting: 1, Oldest: time.Hour}
	calm := situation{offline: Offline{Merge: Auto, MinBytes: 100, MaxQueueAge: time.Minute, MaxQueueDepth: 5}, hasQueue: true, bytes: 1000, fleet: fleet}
	for _, c := range []struct {
		name   string
		change func(*situation)
		where  Where
		reason string
	}{
		{"a fleet with room; its old task runs", func(*situation) {}, Remote, "2 offline nodes with 4 slots, 1 in use; 1000 bytes to merge"},
		{"off", func(s *situation) { s.offline.Merge = Off }, Local, "offline.merge is off"},
		{"no queue", func(s *situation) { s.hasQueue, s.offline.Merge = false, Always }, Local, "this node has no task queue"},
		{"always, whatever is", func(s *situation) { s.offline.Merge, s.fleet, s.bytes = Always, Fleet{}, 1 }, Remote, "offline.merge is always"},
		{"small", func(s *situation) { s.bytes = 99 }, Local, "99 bytes to merge is less than offline.min_bytes (100 bytes)"},
		{"as large as it must be", func(s *situation) { s.bytes = 100 }, Remote, "2 offline nodes"},
		{"not known", func(s *situation) { s.fleetErr = errors.New("redis is away") }, Local, "the fleet cannot be asked: redis is away"},
		{"no node", func(s *situation) { s.fleet = Fleet{} }, Local, "no offline node is alive"},
		{"no slot", func(s *situation) { s.fleet = Fleet{Nodes: 1} }, Local, "1 offline node alive, but without a slot"},
		{"all slots busy, young queue", func(s *situation) {
			s.fleet.Running, s.fleet.Waiting, s.fleet.Oldest = 4, 9, time.Second
		}, Remote, "4 in use"},
		{"deep queue", func(s *situation) {
			s.fleet.Running, s.fleet.Waiting, s.fleet.Oldest = 4, 10, time.Second
		}, Local, "6 tasks wait for a slot, more than offline.max_queue_depth (5)"},
		{"old queue", func(s *situation) { s.fleet.Waiting = 2 }, Local, "the queue is 1h0m0s old"},
		{"one of ours waits for long", func(s *situation) { s.waiting = 2 * time.Minute }, Local, "a merge of ours has waited 2m0s"},
		{"age of the queue not known", func(s *situation) { s.fleet.Waiting, s.fleet.Oldest = -1, 0 }, Remote, "2 offline nodes"},
	} {
		s := calm
		c.change(&s)
		d := decide(s)
		require.Equal(t, c.where, d.where, c.name)
		require.Contains(t, d.reason, c.reason, c.name)
	}
}
