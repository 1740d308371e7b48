package faults

import (
	"fmt"
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
)

// ranOnce makes sure that each task ended under the claim that it had.
func (r *run) ranOnce(f *fleet.Fleet, held map[string]int64) (ids []string) {
	r.t.Helper()
	for id, allocation := range held {
		e := f.Outcome(id, 0, 2*time.Minute)
		require.Equal(r.t, task.Success, e.Status, id)
		require.Equal(r.t, allocation, e.AllocationID, "%s ran again", id)
		ids = append(ids, id)
	}
	return ids
}

// running submits probes of one length and waits until all run. It returns their allocation ids.
func running(f *fleet.Fleet, tasks int, long string) map[string]int64 {
	held := map[string]int64{}
	for range tasks {
		held[f.Submit(map[string]any{"for": long})] = 0
	}
	for id := range held {
		held[id] = f.Active(id, time.Minute, nil).AllocationID
	}
	return held
}

func TestRow6NodesJoinAndLeaveUnderLongTasks(t *testing.T) {
	begin(t, 6).joinAndLeave("the group's leader assigns partitions", "kafka.server_side_balancer=false")
}

func TestRow6NodesJoinAndLeaveUnderLongTasksWithABalancingBroker(t *testing.T) {
	begin(t, 6).joinAndLeave("the broker assigns partitions, KIP-848", "kafka.server_side_balancer=true")
}

func (r *run) joinAndLeave(how, balancer string) {
	r.t.Helper()
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	settings := []string{"types.probe.slots=8", "node.grace=2m", balancer}
	nodes := []*fleet.Process{f.Node("n1", settings...), f.Node("n2", settings...)}
	held := running(f, 8, "55s")
	work := r.load(f, loadOf{})
	r.strike("7 times a node joins or the oldest one leaves, under 8 tasks of 55 s (%s)", how)
	for i := range 7 {
		time.Sleep(6 * time.Second)
		if i%2 == 0 {
			nodes = append(nodes, f.Node(fmt.Sprint("n", 3+i), settings...))
			continue
		}
		nodes[0].Signal(syscall.SIGTERM)
		nodes = nodes[1:]
	}
	ids := r.ranOnce(f, held)
	r.checked("8 tasks of 55 s ran once each")
	r.audit(f, append(ids, work.stop()...))
}

func TestRow9ALongGraceCostsNoWork(t *testing.T) {
	r := begin(t, 9)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	old := f.Node("old", "node.grace=1m")
	held := running(f, 4, "25s")
	f.Node("new")
	r.strike("SIGTERM with a grace of 1m under 4 tasks of 25 s")
	old.Signal(syscall.SIGTERM)
	next := f.Submit(nil)
	require.Equal(t, "new", f.Outcome(next, 0, time.Minute).Node, "the old node takes nothing new")
	ids := r.ranOnce(f, held)
	require.Equal(t, 0, old.Wait(time.Minute))
	r.checked("the node ends with 0; its tasks ran once each")
	r.audit(f, append(ids, next))
}

func TestRow9AShortGraceCostsNoAttempt(t *testing.T) {
	r := begin(t, 9)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	old := f.Node("old", "node.grace=2s")
	id := f.Submit(map[string]any{"for": "25s"})
	s := f.Active(id, time.Minute, func(s *claims.State) bool { return s.Fraction > 0.3 })
	f.Node("new")
	require.Eventually(t, func() bool { return len(shares(t, f)) == 2 }, time.Minute, 100*time.Millisecond)
	r.strike("SIGTERM with a grace of 2s under a task of 25 s")
	old.Signal(syscall.SIGTERM)
	asked := time.Now()
	again := claimedAgain(f, s, time.Minute)
	r.recoveredIn(time.Since(asked)-2*time.Second, "after the grace, the task runs on the other node")
	require.Less(t, time.Since(asked), 2*time.Second+5*time.Second, "it is free at once")
	require.Equal(t, 0, old.Wait(30*time.Second))
	e := f.Outcome(id, 0, time.Minute)
	require.Equal(t, task.Success, e.Status)
	require.Equal(t, 1, e.Attempt)
	require.Less(t, e.CompletedAt.Sub(again.AssignedAt), 21*time.Second, "it goes on from its checkpoint")
	r.checked("no attempt is counted, and it goes on from its checkpoint")
	r.audit(f, []string{id})
}

func TestRow9ARollingRestartRunsNothingAgain(t *testing.T) {
	r := begin(t, 9)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	settings := []string{"types.probe.slots=12", "node.grace=90s"}
	var nodes []*fleet.Process
	for i := range 3 {
		nodes = append(nodes, f.Node(fmt.Sprint("n", i, "-old"), settings...))
	}
	require.Eventually(t, func() bool { return len(shares(t, f)) == 3 }, time.Minute, 100*time.Millisecond)
	r.strike("all 3 nodes restart one after the other, grace 90 s, under tasks of 60 s")
	held := map[string]int64{}
	for i, old := range nodes {
		maps.Copy(held, running(f, 6, "60s"))
		old.Signal(syscall.SIGTERM)
		f.Node(fmt.Sprint("n", i, "-new"), settings...)
		require.Equal(t, 0, old.Wait(100*time.Second), "n%d", i)
	}
	ids := r.ranOnce(f, held)
	r.checked("0 of %d tasks were executed again", len(ids))
	r.audit(f, ids)
}
