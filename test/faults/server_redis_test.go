package faults

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

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

func TestRow13RedisForgetsEverything(t *testing.T) {
	r := begin(t, 13)
	redis := testkit.StartRedis(t)
	r.on("one broker", "one Redis")
	f := r.fleet(fleet.Servers{Redis: []string{redis.Addr}})
	f.Node("n1")
	f.Node("n2")
	work := r.load(f, loadOf{})
	before := work.next(time.Minute)
	long := f.Submit(map[string]any{"for": "20s"})
	token := f.Active(long, time.Minute, nil).AllocationID

	r.strike("FLUSHALL")
	require.NoError(t, ask(t, redis.Addr).FlushAll(t.Context()).Err())
	work.next(time.Minute)
	r.recovered("first task that was submitted behind it has ended")
	e := f.Outcome(long, 0, time.Minute)
	require.Equal(t, token, e.AllocationID)
	r.checked("the task that ran kept its lease")
	again, err := f.Client.Submit(t.Context(), "probe", nil, task.ID(before.TaskID))
	require.NoError(t, err)
	require.Equal(t, before.TaskID, again)

	r.audit(f, append(work.stop(), long), mayRunTwice)
	work.tell()
}
