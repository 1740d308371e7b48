package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestANodeRefusesARedisThatMayEvict(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	evicting := testkit.StartRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	f.Redis = []string{evicting.Addr}
	n := f.Node("n1")
	require.NotEqual(t, 0, n.Wait(30*time.Second))
	require.Contains(t, n.Tail(), "maxmemory-policy")
	require.Contains(t, n.Tail(), "noeviction")
}

func TestANodeWaitsForAKafkaThatIsAwayAtStart(t *testing.T) {
	t.Parallel()
	kafka := testkit.StartKafka(t, map[string]string{"broker.session.timeout.ms": "3000"})
	f := fleet.On(t, fleet.Servers{Kafka: []string{kafka.Addr}, Redis: []string{testkit.Redis(t)}})
	kafka.Kill()
	n := f.Node("n1")
	require.Eventually(t, func() bool { return strings.Contains(n.Tail(), "server=Kafka") }, 30*time.Second, 100*time.Millisecond)
	kafka.Restart()
	require.Equal(t, task.Success, f.Outcome(f.Submit(nil), 0, time.Minute).Status)
}

func TestRedisAwayForAMinuteAndThenEmptyLosesNothing(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	f := fleet.On(t, fleet.Servers{Kafka: testkit.Kafka(t), Redis: []string{server.Addr}})
	f.Node("n1", "types.probe.slots=2")
	done := f.Submit(map[string]any{"echo": "once"}, task.ID("done"))
	require.Equal(t, task.Success, f.Outcome(done, 0, time.Minute).Status)
	running := f.Submit(map[string]any{"for": "30s"})
	f.Active(running, time.Minute, nil)

	server.Pause()
	during, err := f.Client.Submit(t.Context(), "probe", map[string]any{"echo": "during"})
	require.NoError(t, err, "Kafka has it; Redis is none of the submitter's business")
	time.Sleep(time.Minute) // the fault itself
	server.Resume()
	require.Equal(t, task.Success, f.Outcome(during, 0, time.Minute).Status)
	e := f.Outcome(running, 0, 2*time.Minute)
	require.Equal(t, task.Success, e.Status)
	require.Equal(t, 1, e.Attempt, "what Redis interrupts is no attempt")

	second := f.Submit(map[string]any{"for": "12s"})
	token := f.Active(second, time.Minute, nil).AllocationID
	empty(t, server.Addr)
	again, err := f.Client.Submit(t.Context(), "probe", map[string]any{"echo": "once"}, task.ID("done"))
	require.NoError(t, err)
	require.Equal(t, done, again)
	e = f.Outcome(second, 0, time.Minute)
	require.Equal(t, token, e.AllocationID, "its lease was put back: no work was lost")
	after := f.Submit(map[string]any{"echo": "after"})
	require.Equal(t, task.Success, f.Outcome(after, 0, time.Minute).Status)
	require.Len(t, f.Heard("done"), 1, "its outcome was read back before anything was claimed")
}

// empty makes a server forget everything.
func empty(t *testing.T, addr string) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	require.NoError(t, c.FlushAll(context.WithoutCancel(t.Context())).Err())
}
