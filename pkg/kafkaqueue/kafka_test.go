package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// These tests talk to a real Apache Kafka.

const patience = time.Minute

func realConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		Brokers: testkit.Kafka(t), Prefix: testkit.Name(t) + ".", ClientID: t.Name(),
		Topics: Topics{Partitions: 3, Replication: 1},
		Delays: []time.Duration{time.Second, 3 * time.Second},
		Log:    slog.New(slog.DiscardHandler),
	}
}

func ensure(t *testing.T, cfg Config, types ...string) *Admin {
	t.Helper()
	a, err := OpenAdmin(cfg)
	require.NoError(t, err)
	t.Cleanup(a.Close)
	require.NoError(t, a.Ensure(t.Context(), types))
	return a
}

func openProducer(t *testing.T, cfg Config) *Producer {
	t.Helper()
	p, err := NewProducer(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

// live is a consumer on a real Kafka.
type live struct {
	*Consumer
	t   *testing.T
	end func() error

	mu        sync.Mutex
	delivered []task.Delivery
	revoked   int
	gaps      []Gap
	more      chan struct{}
}

func consume(t *testing.T, cfg Config, typ string) *live {
	t.Helper()
	l := &live{t: t, more: make(chan struct{}, 1)}
	told := func(change func()) {
		l.mu.Lock()
		change()
		l.mu.Unlock()
		select {
		case l.more <- struct{}{}:
		default:
		}
	}
	c, err := NewConsumer(cfg, typ, Hooks{
		Revoked: func(Partition) { told(func() { l.revoked++ }) },
		Gap:     func(g Gap) { told(func() { l.gaps = append(l.gaps, g) }) },
	})
	require.NoError(t, err)
	l.Consumer = c
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		for {
			ds, err := c.Poll(context.Background())
			if err != nil {
				return
			}
			told(func() { l.delivered = append(l.delivered, ds...) })
		}
	}()
	l.end = sync.OnceValue(func() error { cancel(); err := <-ended; <-polled; return err })
	t.Cleanup(func() { _ = l.end() })
	return l
}

func (l *live) got() []task.Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]task.Delivery(nil), l.delivered...)
}

// until waits for the consumer's next news until ok.
func (l *live) until(what string, ok func() bool) {
	l.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		l.mu.Lock()
		met := ok()
		l.mu.Unlock()
		if met {
			return
		}
		select {
		case <-l.more:
		case <-deadline.C:
			l.t.Fatalf("no sign of %s; %d records came", what, len(l.got()))
		}
	}
}

func (l *live) await(n int) []task.Delivery {
	l.t.Helper()
	l.until(fmt.Sprintf("%d records", n), func() bool { return len(l.delivered) >= n })
	return l.got()
}

func committedOn(t *testing.T, cfg Config, typ string) (total int64) {
	t.Helper()
	client, err := kgo.NewClient(cfg.clientOptions()...)
	require.NoError(t, err)
	defer client.Close()
	offsets, err := kadm.NewClient(client).FetchOffsets(t.Context(), names{cfg.Prefix}.group(typ))
	require.NoError(t, err)
	offsets.Each(func(o kadm.OffsetResponse) { total += o.At })
	return total
}

func someTasks(typ string, n int) (tasks []task.Delivery) {
	for i := range n {
		tasks = append(tasks, task.Delivery{Envelope: task.Envelope{ID: task.NewID(), Type: typ}, Params: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	return tasks
}

func TestKafkaDeliversCommitsAndHandsOver(t *testing.T) {
	for _, serverSide := range []bool{false, true} {
		t.Run(fmt.Sprintf("server side balancer %v", serverSide), func(t *testing.T) {
			t.Parallel()
			cfg := realConfig(t)
			cfg.ServerSideBalancer = serverSide
			a := ensure(t, cfg, "merge")
			p := openProducer(t, cfg)
			require.Eventually(t, func() bool { // a new broker has no coordinator yet
				alone, err := a.Alone(t.Context(), []string{"merge"})
				return err == nil && alone
			}, patience, 100*time.Millisecond)
			require.Nil(t, p.Submit(t.Context(), someTasks("merge", 300)))
			backlog, err := a.Backlog(t.Context(), []string{"merge"})
			require.NoError(t, err)
			require.EqualValues(t, 300, backlog["merge"].Lag)
			require.Positive(t, backlog["merge"].OldestAge)

			first := consume(t, cfg, "merge")
			held := first.await(300)
			alone, err := a.Alone(t.Context(), []string{"merge"})
			require.NoError(t, err)
			require.False(t, alone)
			second := consume(t, cfg, "merge")
			first.until("a revoke", func() bool { return first.revoked >= 3 })
			require.Nil(t, p.Submit(t.Context(), someTasks("merge", 30)))
			var moved int
			for i := range held {
				if !first.Owned(&held[i]) {
					moved++
				}
				first.Finish(&held[i])
			}
			for second.until("what moved", func() bool { return len(second.delivered) >= moved }); ; {
				ds, more := second.got(), first.got()
				for i := range ds {
					second.Finish(&ds[i])
				}
				for i := range more {
					first.Finish(&more[i])
				}
				if len(ds)+len(more)-moved >= 330 {
					break
				}
				select {
				case <-second.more:
				case <-first.more:
				}
			}
			start := time.Now()
			require.NoError(t, first.end())
			require.Less(t, time.Since(start), 10*time.Second)
			require.NoError(t, second.end())
			require.EqualValues(t, 330, committedOn(t, cfg, "merge"))
		})
	}
}

func TestKafkaTakesAForeignRecordAndKeepsADeadLetterWhole(t *testing.T) {
	t.Parallel()
	cfg := realConfig(t)
	ensure(t, cfg, "merge")
	foreign, err := kgo.NewClient(cfg.clientOptions()...)
	require.NoError(t, err)
	defer foreign.Close()
	sent := &kgo.Record{Topic: cfg.Prefix + "tasks.merge", Key: []byte("k"), Value: []byte("plain")}
	bad := &kgo.Record{Topic: cfg.Prefix + "tasks.merge", Key: []byte("bad"), Value: []byte{0, 1, 255}, Headers: []kgo.RecordHeader{header("format", "9"), header("theirs", "x")}}
	require.NoError(t, foreign.ProduceSync(t.Context(), sent, bad).FirstErr())
	c := consume(t, cfg, "merge")
	p := openProducer(t, cfg)
	for _, d := range c.await(2) {
		require.NoError(t, task.ValidateID(d.ID))
		if d.Err == nil {
			require.Equal(t, "plain", string(d.Params))
			require.True(t, strings.HasSuffix(d.ID, fmt.Sprintf(".%d.%d", sent.Partition, sent.Offset)))
			continue
		}
		acked := make(chan error, 1)
		p.DeadLetter(d, task.Letter{Reason: d.Reason, Message: d.Err.Error(), LastFailure: time.Now()}, func(err error) { acked <- err })
		require.NoError(t, <-acked)
	}
	var letters []DeadLetter
	require.NoError(t, ReadDeadLetters(t.Context(), cfg, func(l DeadLetter) error { letters = append(letters, l); return nil }))
	require.Len(t, letters, 1)
	require.Equal(t, bad.Value, letters[0].Delivery.Params)
	require.Equal(t, bad.Headers, headersOf(&letters[0].Delivery))
	require.Equal(t, bad.Key, keyOf(&letters[0].Delivery))
	require.Equal(t, bad.Offset, letters[0].Delivery.Origin.Offset)
}

func TestKafkaRoutesDelayedTasks(t *testing.T) {
	t.Parallel()
	cfg := realConfig(t)
	ensure(t, cfg, "merge")
	r, err := NewRouter(cfg, func(d task.Delivery, err error) { t.Errorf("refused %s: %v", d.ID, err) })
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	p, c := openProducer(t, cfg), consume(t, cfg, "merge")
	d := someTasks("merge", 1)[0]
	d.NotBefore = time.Now().Add(5500 * time.Millisecond).Truncate(time.Millisecond)
	d.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	require.Nil(t, p.Submit(t.Context(), []task.Delivery{d}))
	got := c.await(1)[0]
	require.WithinRange(t, time.Now(), d.NotBefore.Add(-cfg.Delays[0]), d.NotBefore.Add(patience))
	require.Equal(t, d.TraceParent, got.TraceParent)
	require.Equal(t, cfg.Prefix+"tasks.merge.again", got.Origin.Topic)
	require.True(t, strings.HasPrefix(got.First.Topic, cfg.Prefix+"tasks.retry."), got.First.Topic)
	cancel()
	require.NoError(t, <-ended)
}

func TestKafkaReportsWhatRetentionTook(t *testing.T) {
	t.Parallel()
	cfg := realConfig(t)
	cfg.Topics.Partitions = 1
	a := ensure(t, cfg, "merge")
	p := openProducer(t, cfg)
	require.Nil(t, p.Submit(t.Context(), someTasks("merge", 10)))
	c := consume(t, cfg, "merge")
	for i, d := range c.await(10) {
		if i < 2 {
			c.Finish(&d)
		}
	}
	require.NoError(t, c.end())
	require.EqualValues(t, 2, committedOn(t, cfg, "merge"))
	var cut kadm.Offsets
	cut.AddOffset(cfg.Prefix+"tasks.merge", 0, 6, -1)
	_, err := a.kadm.DeleteRecords(t.Context(), cut)
	require.NoError(t, err)
	findings, err := a.Check(t.Context(), []string{"merge"})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(findings), "retention took offsets 2 to 5")
	again := consume(t, cfg, "merge")
	require.Len(t, again.await(4), 4)
	require.Equal(t, []Gap{{Topic: cfg.Prefix + "tasks.merge", From: 2, To: 6}}, again.gaps)
}

func TestKafkaReadsResultsSince(t *testing.T) {
	t.Parallel()
	cfg := realConfig(t)
	ensure(t, cfg)
	p := openProducer(t, cfg)
	write := func(ids ...string) {
		acked := make(chan error, len(ids))
		for _, id := range ids {
			p.Event(task.Event{TaskID: id, Type: "merge", Status: task.Success, CompletedAt: time.Now()}, func(err error) { acked <- err })
		}
		for range ids {
			require.NoError(t, <-acked)
		}
	}
	write("a", "b", "c")
	time.Sleep(5 * time.Millisecond)
	since := time.Now()
	time.Sleep(5 * time.Millisecond)
	write("d", "e")
	var ids []string
	require.NoError(t, ReadResults(t.Context(), cfg, since, func(e task.Event) error { ids = append(ids, e.TaskID); return nil }))
	require.ElementsMatch(t, []string{"d", "e"}, ids)

	l, err := NewListener(cfg, ListenerConfig{Group: cfg.Prefix + "listeners"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	heard := 0
	require.NoError(t, l.Run(ctx, func(context.Context, task.Event) error {
		if heard++; heard == 5 {
			cancel()
		}
		return nil
	}))
	require.Equal(t, 5, heard)
}

func TestKafkaEndsAConsumerWhoseTopicWasCreatedAnew(t *testing.T) {
	t.Parallel()
	cfg := realConfig(t)
	a := ensure(t, cfg, "merge")
	p, c := openProducer(t, cfg), consume(t, cfg, "merge")
	require.Nil(t, p.Submit(t.Context(), someTasks("merge", 3)))
	c.await(3)
	_, err := a.kadm.DeleteTopics(t.Context(), cfg.Prefix+"tasks.merge")
	require.NoError(t, err)
	for err = kerr.TopicAlreadyExists; errors.Is(err, kerr.TopicAlreadyExists); { // deletion goes on in the background
		_, err = a.kadm.CreateTopic(t.Context(), 3, 1, nil, cfg.Prefix+"tasks.merge")
	}
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { _, err := c.Poll(t.Context()); ended <- err }() // waits for the other poller, then for the end
	select {
	case err := <-ended:
		require.ErrorIs(t, err, ErrTopicGone)
	case <-time.After(patience):
		t.Fatal("the consumer goes on")
	}
	require.ErrorIs(t, c.end(), ErrTopicGone)
}

func TestKafkaRestartLosesNothing(t *testing.T) {
	t.Parallel()
	server := testkit.StartKafka(t, nil)
	cfg := realConfig(t)
	cfg.Brokers = []string{server.Addr}
	ensure(t, cfg, "merge")
	p, c := openProducer(t, cfg), consume(t, cfg, "merge")
	require.Nil(t, p.Submit(t.Context(), someTasks("merge", 100)))
	first := c.await(100)
	server.Kill()
	var acked sync.WaitGroup
	for _, d := range first {
		acked.Add(1)
		d.Hop++
		p.Hop(d, func(err error) {
			defer acked.Done()
			if err != nil {
				t.Errorf("hop of %s: %v", d.ID, err)
			}
			c.Finish(&d)
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, p.Submit(ctx, someTasks("merge", 1))[0], ErrUnknown)
	server.Restart()
	acked.Wait()
	ids := map[string]int{}
	c.until("the hops", func() bool {
		clear(ids)
		for _, d := range c.delivered {
			ids[d.ID] = max(ids[d.ID], d.Hop)
		}
		hops := 0
		for _, hop := range ids {
			hops += hop
		}
		return hops == 100
	})
	require.NoError(t, c.end())
}

func TestKafkaDoctorNamesWhatEndangersAPromise(t *testing.T) {
	t.Parallel()
	cfg := realConfig(t)
	a := ensure(t, cfg, "merge")
	findings, err := a.Check(t.Context(), []string{"merge"})
	require.NoError(t, err)
	for _, f := range findings {
		require.Equal(t, SeverityWarning, f.Severity, "%+v", f)
	}
	set := func(topic, key, value string) {
		_, err := a.kadm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, cfg.Prefix+topic)
		require.NoError(t, err)
	}
	set("tasks.merge", "cleanup.policy", "compact")
	set("tasks.merge.again", "retention.ms", "60000")
	set("tasks.merge.again", "retention.bytes", "1000000")
	set("tasks.retry.1s", "message.timestamp.type", "CreateTime")
	set("tasks.results", "retention.ms", "86400000")
	set("tasks.dead-letter", "max.message.bytes", "1000000")
	set("tasks.dead-letter", "unclean.leader.election.enable", "true")
	err = a.Ensure(t.Context(), []string{"merge"})
	for _, what := range []string{"tasks.merge has cleanup.policy compact", "again has retention.ms 60000", "retention.bytes 1000000", "retry.1s has message.timestamp.type CreateTime", "results has retention.ms", "max.message.bytes 1000000", "unclean"} {
		require.ErrorContains(t, err, what)
	}
	cfg.SessionTimeout = 2 * time.Hour
	strict, err := OpenAdmin(cfg)
	require.NoError(t, err)
	defer strict.Close()
	findings, err = strict.Check(t.Context(), []string{"merge", "absent"})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(findings), "group.max.session.timeout.ms")
	require.Contains(t, fmt.Sprint(findings), "tasks.absent is missing")
}
