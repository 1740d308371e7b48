package faults

import (
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// ask is a client of a Redis server, for what only a fault asks of it.
func ask(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

const oneBroker = "1 broker of Apache Kafka"

func TestRow13RedisForgetsEverything(t *testing.T) {
	r := begin(t, 13)
	redis := testkit.StartRedis(t)
	r.on(oneBroker, "1 Redis")
	f := r.fleet(fleet.Servers{Redis: []string{redis.Addr}})
	start(f, []string{"n1", "n2"})
	work := r.load(f, loadOf{})
	before := work.next(time.Minute)
	long := f.Submit(map[string]any{"for": "20s"})
	token := f.Active(long, time.Minute, nil).AllocationID

	r.strike("FLUSHALL")
	require.NoError(t, ask(t, redis.Addr).FlushAll(t.Context()).Err())
	again := f.Submit(nil, task.ID(before.TaskID))
	work.next(time.Minute)
	r.recovered("a task that was submitted behind it has ended")
	e := f.Outcome(long, 0, time.Minute)
	require.Equal(t, token, e.AllocationID)
	r.checked("the task that ran kept its lease and its run")

	r.audit(f, append(work.stop(), long))
	require.Len(t, r.events(f, again), 1)
	r.checked("a task that had ended, submitted again right behind the fault, ran no second time")
	work.tell()
}

// In the gap between the master's last write and the replica's, tasks were claimed; one of the holders stands still while the
// replica takes over, so that nobody puts its lease back.
func TestRow14SentinelPromotesAReplicaThatLostTheClaims(t *testing.T) {
	r := begin(t, 14)
	w := testkit.StartRedisWithSentinel(t)
	r.on(oneBroker, "Redis master, replica and Sentinel")
	f := r.fleet(fleet.Servers{Redis: []string{w.Sentinel.Addr}, Master: testkit.SentinelName})
	nodes := start(f, []string{"n1", "n2"}, "types.probe.slots=16")
	work := r.load(f, loadOf{})
	work.next(time.Minute)
	w.Replica.Terminate()
	var kept, frozen *claims.State
	var ids []string
	for kept == nil || frozen == nil {
		id := f.Submit(map[string]any{"for": "35s"})
		ids = append(ids, id)
		if s := f.Active(id, time.Minute, nil); s.Node == "n1" {
			frozen = s
		} else {
			kept = s
		}
	}

	nodes["n1"].Signal(syscall.SIGSTOP)
	w.Master.Kill()
	r.strike("replica stopped, tasks claimed, a holder frozen, master killed, replica started: Sentinel promotes it")
	w.Replica.Restart()
	work.next(time.Minute)
	r.recovered("a task that was submitted behind it has ended")
	claimedAgain(f, frozen, time.Minute)
	r.recovered("the frozen holder's task is claimed again")
	nodes["n1"].Signal(syscall.SIGCONT)
	e := f.Outcome(frozen.ID, 0, 2*time.Minute)
	require.Greater(t, e.AllocationID, frozen.AllocationID)
	r.checked("the thawed holder's report was refused: the outcome is of the later claim")
	e = f.Outcome(kept.ID, 0, 2*time.Minute)
	require.Equal(t, kept.AllocationID, e.AllocationID)
	r.checked("the other holder put its lost lease back and kept its run")
	r.audit(f, append(work.stop(), ids...), mayRunTwice)
	work.tell()
}

func TestRow14AMasterOfARedisClusterIsKilled(t *testing.T) {
	r := begin(t, 14)
	masters, _ := testkit.StartRedisClusterWithReplicas(t, 3)
	r.on(oneBroker, "Redis Cluster of 3 masters and 3 replicas")
	var addrs []string
	for _, m := range masters {
		addrs = append(addrs, m.Addr)
	}
	f := r.fleet(fleet.Servers{Redis: addrs, Cluster: true})
	start(f, []string{"n1", "n2"}, "types.probe.slots=16")
	work := r.load(f, loadOf{})
	work.next(time.Minute)
	var ids []string
	for range 12 {
		ids = append(ids, f.Submit(map[string]any{"for": "25s"}))
	}
	for _, id := range ids {
		f.Active(id, time.Minute, nil)
	}

	r.strike("kill -9 of one master of three")
	masters[0].Kill()
	var fresh []string
	for range 24 { // in all parts of the key space
		fresh = append(fresh, f.Submit(nil))
	}
	for _, id := range fresh {
		f.Outcome(id, 0, time.Minute)
	}
	r.recovered("24 tasks that were submitted behind it have ended")
	for _, id := range ids {
		e := f.Outcome(id, 0, 2*time.Minute)
		require.Equal(t, task.Success, e.Status)
		require.Equal(t, 1, e.Attempt, "what Redis interrupts is no attempt")
	}
	r.audit(f, append(append(work.stop(), ids...), fresh...), mayRunTwice)
	work.tell()
}

func TestRow15RedisIsDownAndBack(t *testing.T) {
	r := begin(t, 15)
	redis := testkit.StartRedis(t)
	r.on(oneBroker, "1 Redis")
	f := r.fleet(fleet.Servers{Redis: []string{redis.Addr}})
	start(f, []string{"n1", "n2"})
	work := r.load(f, loadOf{})
	work.next(time.Minute)
	long := f.Submit(map[string]any{"for": "25s"})
	f.Active(long, time.Minute, nil)

	redis.Kill()
	during := f.Submit(map[string]any{"echo": "during"})
	time.Sleep(30 * time.Second) // the fault itself
	redis.Restart()
	r.strike("kill -9 of Redis, started again after 30 s")
	f.Outcome(during, 0, time.Minute)
	r.recovered("a task that was submitted meanwhile has ended")
	work.next(time.Minute)
	e := f.Outcome(long, 0, 2*time.Minute)
	require.Equal(t, 1, e.Attempt)
	r.checked("the interruption of a task that ran counts as no attempt")
	r.audit(f, append(work.stop(), long, during), mayRunTwice)
	work.tell()
}

func TestRow16RedisAnswersAreLost(t *testing.T) {
	r := begin(t, 16)
	addr := testkit.Redis(t)
	line := testkit.StartProxy(t, addr)
	r.on(oneBroker, "1 Redis behind a proxy")
	f := r.fleet(fleet.Servers{Redis: []string{addr}})
	start(f, []string{"n1", "n2"}, "redis.addrs="+line.Addr)
	work := r.load(f, loadOf{})
	work.next(time.Minute)
	long := f.Submit(map[string]any{"for": "40s"})
	f.Active(long, time.Minute, nil)

	line.LoseAnswers(300)
	time.Sleep(15 * time.Second) // the fault itself
	line.LoseAnswers(0)
	line.BlackHole(testkit.ToClient)
	time.Sleep(8 * time.Second) // the fault itself: shorter than the trust window
	line.Heal()
	r.strike("for 15 s three of ten answers are lost with their connection, then for 8 s all of them in silence")
	work.next(time.Minute)
	r.recovered("a task that was submitted behind it has ended")
	e := f.Outcome(long, 0, time.Minute)
	require.Equal(t, task.Success, e.Status)
	r.audit(f, append(work.stop(), long))
	work.tell()
}

func TestRow17RedisIsFull(t *testing.T) {
	r := begin(t, 17)
	redis := testkit.StartRedis(t)
	r.on(oneBroker, "1 Redis")
	f := r.fleet(fleet.Servers{Redis: []string{redis.Addr}})
	start(f, []string{"n1", "n2"})
	work := r.load(f, loadOf{Every: time.Second})
	work.next(time.Minute)
	long := f.Submit(map[string]any{"for": "20s"})
	token := f.Active(long, time.Minute, nil).AllocationID

	require.NoError(t, ask(t, redis.Addr).ConfigSet(t.Context(), "maxmemory", "1mb").Err())
	behind := f.Submit(nil)
	e := f.Outcome(long, 0, time.Minute)
	require.Equal(t, token, e.AllocationID)
	require.Equal(t, task.Success, e.Status)
	r.checked("a task that ran kept its lease for 20 s at maxmemory, and ended")
	require.Empty(t, f.Heard(behind), "nothing is claimed at maxmemory")
	require.NoError(t, ask(t, redis.Addr).ConfigSet(t.Context(), "maxmemory", "0").Err())
	r.strike("maxmemory below what is used, then none")
	f.Outcome(behind, 0, time.Minute)
	r.recovered("a task that was submitted meanwhile has ended")
	r.audit(f, append(work.stop(), long, behind))
	work.tell()
}
