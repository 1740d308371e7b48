package kafkaqueue

import (
	"context"
	"os"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Full windows of parked records of 500 bytes, on 32 partitions, must leave
// room in a small process.
func TestKafkaFullWindowsFitIntoMemory(t *testing.T) {
	cfg := realConfig(t)
	cfg.Topics.Partitions = 32
	ensure(t, cfg, "merge")
	submit500(t, cfg, 160_000)
	before := liveHeap()
	c, err := NewConsumer(cfg, "merge", Hooks{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	var parked [][]task.Delivery // as they came: nodes keep references
	count := 0
	for paused := 0; paused < 32; _, paused, _ = c.member.look(time.Now()) {
		ds, err := c.Poll(ctx)
		require.NoError(t, err)
		parked = append(parked, ds)
		count += len(ds)
	}
	open, _, _ := c.member.look(time.Now())
	require.Equal(t, open, count)
	used := liveHeap() - before
	t.Logf("%d records parked: %d MB live, %d bytes each; peak of the process %s", count, used>>20, used/uint64(count), peak())
	require.Greater(t, count, 32*(4096-maxPoll))
	require.Less(t, used, uint64(170<<20), "the collector needs as much again")
	runtime.KeepAlive(parked)
	cancel()
	require.NoError(t, <-ended)
}

func submit500(t *testing.T, cfg Config, n int) {
	t.Helper()
	p, err := NewProducer(cfg)
	require.NoError(t, err)
	tasks := make([]task.Delivery, 1<<13)
	for sent := 0; sent < n; sent += len(tasks) {
		for i := range tasks {
			tasks[i] = task.Delivery{Envelope: task.Envelope{ID: task.NewID(), Type: "merge"}, Params: noise500(sent + i)}
		}
		require.Nil(t, p.Submit(t.Context(), tasks))
	}
	require.NoError(t, p.Close(t.Context()))
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// peak is the kernel's figure, for the log; "" where there is none.
func peak() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	return string(regexp.MustCompile(`VmHWM:\s*(\d+ kB)`).Find(status))
}
