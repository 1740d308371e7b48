package faults

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
)

// fast are the settings for a quick recovery, as the README and config.sample.yml tell them.
var fast = []string{"redis.lease=5s", "redis.beat=1s", "redis.trust=3s", "kafka.session_timeout=6s"}

// fastBound is what those settings promise: the session, two heartbeats of the others, and the time to claim.
const fastBound = 8 * time.Second

const usualServers = "1 broker of Apache Kafka, 1 Redis"

// members are the names of nodes and their processes.
type members map[string]*fleet.Process

func start(f *fleet.Fleet, names []string, settings ...string) members {
	m := members{}
	for _, name := range names {
		m[name] = f.Node(name, settings...)
	}
	return m
}

// claimedAgain waits until another claim of a task runs than the one before.
func claimedAgain(f *fleet.Fleet, before *claims.State, within time.Duration) *claims.State {
	return f.Active(before.ID, within, func(s *claims.State) bool { return s.AllocationID != before.AllocationID })
}

// saved waits until a checkpoint of a task has travelled with a beat, and returns the state.
func saved(f *fleet.Fleet, id string) *claims.State {
	return f.Active(id, time.Minute, func(s *claims.State) bool { return s.Fraction > 0.1 })
}

func TestRow1AHolderIsKilled(t *testing.T) {
	r := begin(t, 1)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	nodes := start(f, []string{"n1", "n2"})
	work := r.load(f, loadOf{})
	id := f.Submit(map[string]any{"for": "30s"})
	s := saved(f, id)

	r.strike("kill -9 of the node that runs a task, default settings")
	nodes[s.Node].Kill()
	again := claimedAgain(f, s, time.Minute)
	r.recovered("the task runs on another node")
	require.NotEqual(t, s.Node, again.Node)

	e := f.Outcome(id, 0, time.Minute)
	require.Equal(t, task.Success, e.Status)
	require.Equal(t, 1, e.Attempt, "a lost claim is no attempt")
	require.Less(t, e.CompletedAt.Sub(again.StartedAt), 29*time.Second, "it goes on from its checkpoint")
	r.checked("it went on from its checkpoint in the same attempt")
	r.audit(f, append(work.stop(), id))
}

func TestRow1AHolderIsKilledUnderFastSettings(t *testing.T) {
	r := begin(t, 1)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	nodes := start(f, []string{"n1", "n2"}, fast...)
	var ids []string
	r.strike("kill -9 of the node that runs a task, fast settings, 5 times")
	var worst time.Duration
	for i := range 5 {
		id := f.Submit(map[string]any{"for": "14s"})
		ids = append(ids, id)
		s := saved(f, id)
		time.Sleep(rand.N(3 * time.Second)) // the fault may come at any moment between two heartbeats
		nodes[s.Node].Kill()
		killed := time.Now()
		claimedAgain(f, s, time.Minute)
		took := time.Since(killed)
		t.Logf("claimed again %s after kill -9", took.Round(10*time.Millisecond))
		worst = max(worst, took)
		nodes[s.Node] = f.Node(s.Node, fast...)
		require.Equal(t, task.Success, f.Outcome(id, 0, time.Minute).Status, "kill %d", i)
	}
	require.LessOrEqual(t, worst, fastBound)
	r.recoveredIn(worst, "the task runs on another node, the slowest of 5")
	r.audit(f, ids)
}

func TestRow2AHolderIsKilledAfterItsPartitionHasLeft(t *testing.T) {
	r := begin(t, 2)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	const tasks = 24
	n1 := f.Node("n1", fmt.Sprint("types.probe.slots=", tasks))
	held := map[string]*claims.State{}
	for range tasks {
		held[f.Submit(map[string]any{"for": "40s"})] = nil
	}
	for id := range held {
		held[id] = saved(f, id)
	}
	f.Node("n2", fmt.Sprint("types.probe.slots=", tasks))
	require.Eventually(t, func() bool { return slices.Equal(shares(t, f), []int{4, 4}) }, time.Minute, 100*time.Millisecond,
		"half of the partitions leave n1: of the topic and of the return topic")
	time.Sleep(2 * time.Second) // n2 reads its partitions and meets the leases

	r.strike("kill -9 of a node that runs %d tasks, half of whose partitions are another's", tasks)
	n1.Kill()
	killed := time.Now()
	for _, s := range held {
		claimedAgain(f, s, time.Minute)
	}
	r.recoveredIn(time.Since(killed), fmt.Sprintf("all %d run on the other node", tasks))
	ids := slices.Collect(maps.Keys(held))
	for _, id := range ids {
		e := f.Outcome(id, 0, time.Minute)
		require.Equal(t, task.Success, e.Status)
		require.Equal(t, "n2", e.Node)
	}
	r.audit(f, ids)
}

// shares are how many partitions each member of the probes' group has, in order.
func shares(t *testing.T, f *fleet.Fleet) (sizes []int) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(f.Kafka...))
	require.NoError(t, err)
	defer c.Close()
	groups, err := kadm.NewClient(c).DescribeGroups(t.Context(), f.Prefix+"offline-nodes.probe")
	if err != nil {
		return nil
	}
	for _, g := range groups {
		for _, m := range g.Members {
			n := 0
			if assigned, ok := m.Assigned.AsConsumer(); ok {
				for _, topic := range assigned.Topics {
					n += len(topic.Partitions)
				}
			}
			sizes = append(sizes, n)
		}
	}
	slices.Sort(sizes)
	return sizes
}

func TestRow3NodesAreKilledWhileTheirTasksEnd(t *testing.T) {
	r := begin(t, 3)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	nodes := start(f, []string{"n1", "n2"}, append([]string{"types.probe.slots=8"}, fast...)...)
	work := r.load(f, loadOf{Every: 15 * time.Millisecond, For: "10ms"})
	work.next(time.Minute)
	r.strike("kill -9 of nodes whose tasks end all the time, 8 times at random moments")
	for i := range 8 {
		time.Sleep(time.Second + rand.N(2*time.Second))
		name := []string{"n1", "n2"}[i%2]
		nodes[name].Kill()
		nodes[name] = f.Node(name, append([]string{"types.probe.slots=8"}, fast...)...)
		work.next(time.Minute)
	}
	last := time.Now()
	ids := work.stop()
	for _, id := range ids {
		f.Outcome(id, 0, time.Minute)
	}
	r.recoveredIn(time.Since(last), "the last of all tasks has its outcome")
	work.tell()
	r.audit(f, ids)
}

func TestRow4AHolderStandsStillPastItsLease(t *testing.T) {
	r := begin(t, 4)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	nodes := start(f, []string{"n1", "n2"})
	id := f.Submit(map[string]any{"for": "30s"})
	s := saved(f, id)

	r.strike("SIGSTOP of the node that runs a task, for 25 s")
	nodes[s.Node].Signal(syscall.SIGSTOP)
	stopped := time.Now()
	again := claimedAgain(f, s, time.Minute)
	r.recovered("the task runs on another node")
	require.NotEqual(t, s.Node, again.Node)
	time.Sleep(time.Until(stopped.Add(25 * time.Second)))
	nodes[s.Node].Signal(syscall.SIGCONT)

	e := f.Outcome(id, 0, time.Minute)
	require.Equal(t, task.Success, e.Status)
	require.Equal(t, again.AllocationID, e.AllocationID, "the stale worker's end is refused")
	require.Equal(t, again.Node, e.Node)
	// The one that stood still takes part again, and needs no restart.
	nodes[again.Node].Kill()
	last := f.Submit(nil)
	require.Equal(t, s.Node, f.Outcome(last, 0, time.Minute).Node)
	r.checked("the outcome is of the second claim; the node that stood still runs tasks again")
	r.audit(f, []string{id, last})
}

func TestRow28TheOwnerOfALongTaskAheadOfShortOnesIsKilled(t *testing.T) {
	r := begin(t, 28)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	n1 := f.Node("n1", "types.probe.slots=9")
	long := f.Submit(map[string]any{"for": "40s"})
	s := saved(f, long)
	ids := []string{long}
	for range 500 {
		ids = append(ids, f.Submit(nil))
	}
	for _, id := range ids[1:] {
		f.Outcome(id, 0, time.Minute)
	}
	f.Node("n2")

	r.strike("kill -9 of the node that runs a long task, and has ended 500 behind it")
	n1.Kill()
	claimedAgain(f, s, time.Minute)
	r.recovered("the long task runs on another node")
	after := f.Submit(nil)
	f.Outcome(after, 0, time.Minute)
	require.Equal(t, task.Success, f.Outcome(long, 0, time.Minute).Status)
	for _, id := range ids[1:] {
		state, err := f.Client.State(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "n1", state.Node, "what had ended is not claimed again")
	}
	r.checked("none of the 500 that had ended ran again")
	r.audit(f, append(ids, after))
}
