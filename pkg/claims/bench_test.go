package claims

import (
	"context"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// BenchmarkTask claims and settles tasks that do nothing, batch by batch, on a
// real server that appends to its file each second. redis_us/task is the time
// of the server's own core.
func BenchmarkTask(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run("batch="+strconv.Itoa(size), func(b *testing.B) { benchTasks(b, size, false) })
	}
	b.Run("submitted/batch=256", func(b *testing.B) { benchTasks(b, MaxBatch, true) })
}

func benchTasks(b *testing.B, size int, submitted bool) {
	b.Helper()
	f := openBench(b)
	ctx := b.Context()
	info := (&Info{Type: "noop", Node: "node-1", OpaqueID: "bench"}).Encode()
	asks := make([]Ask, size)
	settlements := make([]Settlement, size)
	submissions := make([]Submission, size)
	before := serverCPU(b, f)
	n := 0
	for b.Loop() {
		n++
		for i := range asks {
			id := "0190c2f4-7a1e-7cc3-" + strconv.Itoa(n) + "-" + strconv.Itoa(i)
			asks[i] = Ask{ID: id, Attempt: 1, ParamsHash: 7, Info: info}
			submissions[i] = Submission{ID: id, ParamsHash: 7, Info: info}
		}
		if submitted {
			_, err := f.Submit(ctx, submissions)
			require.NoError(b, err)
		}
		answers, err := f.Claim(ctx, "node-1/4f1c", "nonce"+strconv.Itoa(n), asks)
		require.NoError(b, err)
		for i, a := range answers {
			settlements[i] = Settlement{
				ID: asks[i].ID, Lease: a.Lease, Status: task.Success, Attempt: 1,
				ParamsHash: 7, Fresh: true, Info: info,
			}
		}
		done, err := f.Settle(ctx, settlements)
		require.NoError(b, err)
		if done[0].Verdict != Done {
			b.Fatalf("%+v", done[0])
		}
	}
	tasks := float64(n * size)
	b.ReportMetric((serverCPU(b, f)-before)/tasks, "redis_us/task")
	b.ReportMetric(tasks/b.Elapsed().Seconds(), "tasks/s")
}

func openBench(b *testing.B) *Store {
	b.Helper()
	store, err := Open(b.Context(), Config{Addrs: []string{testkit.Redis(b)}, Prefix: testkit.Name(b) + ":"})
	require.NoError(b, err)
	b.Cleanup(func() {
		removeAll(context.Background(), store.client, store.cfg.Prefix)
		require.NoError(b, store.Close())
	})
	warmAll(b, store)
	return store
}

func removeAll(ctx context.Context, client redis.UniversalClient, prefix string) {
	keys := client.Scan(ctx, 0, prefix+"*", 1000).Iterator()
	for keys.Next(ctx) {
		client.Unlink(ctx, keys.Val())
	}
}

// serverCPU is the time that the server's main thread has used: scripts,
// protocol and the append-only file.
func serverCPU(b *testing.B, s *Store) (micros float64) {
	b.Helper()
	info, err := s.client.Info(b.Context(), "cpu").Result()
	require.NoError(b, err)
	for _, field := range []string{"used_cpu_user_main_thread", "used_cpu_sys_main_thread"} {
		seconds, err := strconv.ParseFloat(infoField(info, field), 64)
		require.NoError(b, err)
		micros += seconds * 1e6
	}
	return micros
}
