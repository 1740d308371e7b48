package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// bench is a fresh prefix on the shared servers.
type bench struct {
	b      *testing.B
	prefix string
	kafka  []string
	redis  string
	client *client.Client
	admin  *kadm.Client
}

func start(b *testing.B, partitions int32) *bench {
	b.Helper()
	x := &bench{b: b, prefix: testkit.Name(b) + ".", kafka: testkit.Kafka(b), redis: testkit.Redis(b)}
	var err error
	x.client, err = client.Open(b.Context(), client.Config{Kafka: x.kafkaConfig(partitions), Claims: x.claimsConfig(), Timeout: time.Minute})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, x.client.Close(context.Background())) })
	require.NoError(b, x.client.Ensure(b.Context(), "noop"))
	kafka, err := kgo.NewClient(kgo.SeedBrokers(x.kafka...))
	require.NoError(b, err)
	b.Cleanup(kafka.Close)
	x.admin = kadm.NewClient(kafka)
	return x
}

func (x *bench) kafkaConfig(partitions int32) kafkaqueue.Config {
	return kafkaqueue.Config{Brokers: x.kafka, Prefix: x.prefix, Topics: kafkaqueue.Topics{Partitions: partitions, Replication: 1}}
}

func (x *bench) claimsConfig() claims.Config {
	return claims.Config{Addrs: []string{x.redis}, Prefix: x.prefix}
}

// preload publishes n tasks of 500 bytes.
func (x *bench) preload(n int) {
	preload(x.b, x.client, "noop", `{"pad":"`+strings.Repeat("x", 490)+`"}`, n)
}

// preload publishes n tasks with the same parameters.
func preload(b *testing.B, c *client.Client, typ, params string, n int) {
	b.Helper()
	for n > 0 {
		batch := make([]task.Submission, min(n, 5000))
		for i := range batch {
			s, err := task.NewSubmission(typ, []byte(params))
			require.NoError(b, err)
			batch[i] = s
		}
		for _, r := range c.SubmitBatch(b.Context(), batch) {
			require.NoError(b, r.Err)
		}
		n -= len(batch)
	}
}

// node runs worker until the benchmark ends.
func (x *bench) node(partitions int32, slots int, worker task.WorkerFunc) *node.Service {
	mux := task.NewMux()
	mux.Register("noop", worker, task.Slots(slots))
	s, err := node.New(node.Config{Name: "bench", Kafka: x.kafkaConfig(partitions), Claims: x.claimsConfig(), Workers: mux})
	require.NoError(x.b, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	x.b.Cleanup(func() {
		stop()
		require.NoError(x.b, <-done)
	})
	return s
}

// redisCPU is what the server's one thread for commands has used so far.
func (x *bench) redisCPU() time.Duration {
	c := redis.NewClient(&redis.Options{Addr: x.redis})
	defer c.Close()
	info, err := c.InfoMap(x.b.Context(), "cpu").Result()
	require.NoError(x.b, err)
	var total float64
	for _, key := range []string{"used_cpu_user_main_thread", "used_cpu_sys_main_thread"} {
		v, err := strconv.ParseFloat(info["CPU"][key], 64)
		require.NoError(x.b, err)
		total += v
	}
	return time.Duration(total * float64(time.Second))
}

// settled is how many completion events the results topic holds.
func (x *bench) settled() int {
	ends, err := x.admin.ListEndOffsets(x.b.Context(), x.prefix+"tasks.results")
	require.NoError(x.b, err)
	require.NoError(x.b, ends.Error())
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return int(n)
}

func waitFor(b *testing.B, settled func() int, want int) {
	b.Helper()
	for deadline := time.Now().Add(5 * time.Minute); settled() < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d settled after 5 minutes", settled(), want)
		}
	}
}

// BenchmarkBurnDown settles preloaded no-op tasks with full states and events.
func BenchmarkBurnDown(b *testing.B) {
	const tasks, partitions = 200_000, 12
	for b.Loop() {
		b.StopTimer()
		x := start(b, partitions)
		x.preload(tasks)
		redisBefore, self := x.redisCPU(), selfCPU(b)
		b.StartTimer()
		began := time.Now()
		x.node(partitions, 16, func(context.Context, *task.Execution) error { return nil })
		waitFor(b, x.settled, tasks)
		report(b, tasks, time.Since(began), x.redisCPU()-redisBefore, selfCPU(b)-self)
	}
}

// BenchmarkBurnDownNaive pays a round trip per claim, settlement and event: what
// the batches of the engine are worth.
func BenchmarkBurnDownNaive(b *testing.B) {
	const tasks, partitions = 20_000, 12
	for b.Loop() {
		b.StopTimer()
		x := start(b, partitions)
		x.preload(tasks)
		redisBefore, self := x.redisCPU(), selfCPU(b)
		b.StartTimer()
		began := time.Now()
		x.naive(partitions, tasks)
		report(b, tasks, time.Since(began), x.redisCPU()-redisBefore, selfCPU(b)-self)
	}
}

func (x *bench) naive(partitions int32, tasks int) {
	b := x.b
	store, err := claims.Open(b.Context(), x.claimsConfig())
	require.NoError(b, err)
	defer store.Close()
	require.NoError(b, x.warm(store))
	producer, err := kafkaqueue.NewProducer(x.kafkaConfig(partitions))
	require.NoError(b, err)
	consumer, err := kafkaqueue.NewConsumer(x.kafkaConfig(partitions), "noop", kafkaqueue.Hooks{})
	require.NoError(b, err)
	ctx, stop := context.WithCancel(b.Context())
	ran := make(chan error, 1)
	go func() { ran <- consumer.Run(ctx) }()
	records := make(chan *task.Delivery, 1024)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for d := range records {
				x.one(store, producer, d)
				consumer.Finish(d)
			}
		})
	}
	for n := 0; n < tasks; {
		polled, err := consumer.Poll(ctx)
		require.NoError(b, err)
		for i := range polled {
			records <- &polled[i]
		}
		n += len(polled)
	}
	close(records)
	workers.Wait()
	stop()
	require.NoError(b, <-ran)
	require.NoError(b, producer.Close(context.Background()))
}

// warm opens the buckets of an empty Redis.
func (x *bench) warm(store *claims.Store) error {
	ctx := x.b.Context()
	cold, err := store.Cold(ctx)
	if err != nil {
		return err
	}
	if err := store.MarkCold(ctx, "bench", cold.Buckets); err != nil {
		return err
	}
	_, err = store.Warm(ctx, "bench", cold.Buckets)
	return err
}

// one claims, settles and publishes a single task.
func (x *bench) one(store *claims.Store, producer *kafkaqueue.Producer, d *task.Delivery) {
	ctx := x.b.Context()
	info := claims.Info{Type: d.Type, SubmittedAt: d.SubmittedAt}
	hash := task.Hash(d.Params)
	answers, err := store.Claim(ctx, "naive", uuid.NewString(), []claims.Ask{{ID: d.ID, Attempt: d.Attempt, ParamsHash: hash, Info: info.Encode()}})
	if err != nil || answers[0].Verdict != claims.Granted {
		x.b.Errorf("claim %s: %v %v", d.ID, answers, err)
		return
	}
	if _, err := store.Settle(ctx, []claims.Settlement{{ID: d.ID, Lease: answers[0].Lease, Status: task.Success, Attempt: d.Attempt, ParamsHash: hash, Fresh: true, Info: info.Encode()}}); err != nil {
		x.b.Errorf("settle %s: %v", d.ID, err)
	}
	acked := make(chan error, 1)
	producer.Event(task.Event{TaskID: d.ID, Type: d.Type, Status: task.Success, Attempt: d.Attempt, CompletedAt: time.Now()}, func(err error) { acked <- err })
	if err := <-acked; err != nil {
		x.b.Errorf("event %s: %v", d.ID, err)
	}
}

func report(b *testing.B, tasks int, took, redisCPU, self time.Duration) {
	b.Helper()
	b.ReportMetric(float64(tasks)/took.Seconds(), "tasks/s")
	b.ReportMetric(float64(redisCPU.Microseconds())/float64(tasks), "redis-µs/task")
	b.ReportMetric(float64(self.Microseconds())/float64(tasks), "node-µs/task")
}

// BenchmarkStart is the time from submission to the worker's start at 1,000
// tasks per second.
func BenchmarkStart(b *testing.B) {
	const rate, seconds, warmUp, partitions = 1000, 20, 5, 12
	for b.Loop() {
		x := start(b, partitions)
		var mu sync.Mutex
		var delays []time.Duration
		var n atomic.Int64
		sent := sync.Map{}
		s := x.node(partitions, 16, func(_ context.Context, t *task.Execution) error {
			if at, ok := sent.Load(t.ID); ok {
				mu.Lock()
				delays = append(delays, time.Since(at.(time.Time)))
				mu.Unlock()
			}
			n.Add(1)
			return nil
		})
		for s.Ready() != nil {
			time.Sleep(10 * time.Millisecond)
		}
		var submitters sync.WaitGroup
		tick := time.NewTicker(time.Second / rate)
		for i := range rate * (seconds + warmUp) {
			<-tick.C
			submitters.Go(func() {
				s, err := task.NewSubmission("noop", nil)
				if err != nil {
					b.Error(err)
				}
				if i >= rate*warmUp {
					sent.Store(s.ID, time.Now())
				}
				if r := x.client.SubmitBatch(b.Context(), []task.Submission{s}); r[0].Err != nil {
					b.Error(r[0].Err)
				}
			})
		}
		tick.Stop()
		submitters.Wait()
		waitFor(b, func() int { return int(n.Load()) }, rate*(seconds+warmUp))
		slices.Sort(delays)
		for _, p := range []float64{50, 95, 99} {
			at := delays[int(float64(len(delays)-1)*p/100)]
			b.ReportMetric(float64(at.Microseconds())/1000, fmt.Sprintf("p%.0f-ms", p))
		}
	}
}

// BenchmarkIdle is what an offline-node costs that has nothing to do.
func BenchmarkIdle(b *testing.B) {
	const window = 20 * time.Second
	f := fleet.New(b)
	n := f.Node("n1", "node.types=probe")
	f.Outcome(f.Submit(map[string]any{}), 0, time.Minute)
	time.Sleep(3 * time.Second)
	for b.Loop() {
		before := cpuOf(b, n.Pid())
		time.Sleep(window)
		b.ReportMetric(float64(cpuOf(b, n.Pid())-before)/float64(window)*100, "%core")
		b.ReportMetric(residentMB(b, n.Pid()), "rss-MB")
	}
}

// BenchmarkParked is the memory of an offline-node with full windows: 4,096 records of 500 bytes on each of 32
// partitions, while one task holds the only slot.
func BenchmarkParked(b *testing.B) {
	const partitions, window = 32, 4096
	for b.Loop() {
		f := fleet.On(b, fleet.Servers{Kafka: testkit.Kafka(b), Redis: []string{testkit.Redis(b)}, Partitions: partitions})
		preload(b, f.Client, "probe", `{"for":"1h","echo":"`+strings.Repeat("x", 470)+`"}`, partitions*window*11/10)
		n := f.Node("n1", "node.types=probe", "types.probe.slots=1", "kafka.window.records="+strconv.Itoa(window))
		time.Sleep(2*time.Minute + 10*time.Second) // the runtime collects garbage every two minutes at least
		b.ReportMetric(residentMB(b, n.Pid()), "rss-MB")
		n.Kill()
	}
}

// residentMB is the memory of a process.
func residentMB(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(b, err)
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			v, err := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			require.NoError(b, err)
			return v / 1000
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
