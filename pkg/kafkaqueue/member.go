package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	pollPauseLeast = 100 * time.Millisecond // after a poll that failed; doubles
	pollPauseMost  = 5 * time.Second
	leaveTimeout   = 10 * time.Second
	missingLimit   = 15 * time.Second // before a topic counts as gone
)

// member is one member of a consumer group: what the consumer, the router and
// the listener share. It polls, tracks what is open, commits watermarks and
// watches for gaps; what the records mean is its owner's business.
//
// It blocks rebalances only between a poll and the registration of its
// records, so that no revoke slips in between.
type member struct {
	cfg     Config
	group   string
	topics  []string
	hooks   Hooks
	options []kgo.Opt
	again   string // the return topic, if any
	metrics *metrics

	ready chan struct{} // closed when client is set
	// client is set once, before ready is closed.
	client *kgo.Client

	// turn is held by whoever commits: one at a time, and a revoke's commit is
	// the last of its partitions. A channel, as it is held across requests.
	turn chan struct{}
	// polling is held during a poll, so that leaving waits for it.
	polling chan struct{}
	resume  chan *assignment

	mu         sync.Mutex
	assigned   map[string]map[int32]*assignment
	stopping   chan struct{}
	stopped    bool
	failure    error
	cancelPoll context.CancelFunc

	lastPoll  atomic.Int64
	pollPause time.Duration       // of the poll goroutine
	missing   map[string]*absence // of topics; the poll goroutine's
	said      complaints
}

func newMember(cfg Config, group string, topics []string, hooks Hooks, options ...kgo.Opt) (*member, error) {
	metrics, err := newMetrics(cfg.Meter)
	if err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	m := &member{
		cfg: cfg, group: group, topics: topics, hooks: hooks, metrics: metrics,
		ready: make(chan struct{}), turn: make(chan struct{}, 1), polling: make(chan struct{}, 1),
		resume: make(chan *assignment, 64), stopping: make(chan struct{}),
		assigned: map[string]map[int32]*assignment{}, missing: map[string]*absence{},
	}
	m.options = append(cfg.clientOptions(),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...),
		kgo.SessionTimeout(cfg.SessionTimeout), kgo.HeartbeatInterval(min(3*time.Second, cfg.SessionTimeout/3)),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Otherwise a topic that was deleted is never heard of, and fetched in a
		// tight loop: kept errors wait for the next poll, which pauses.
		kgo.KeepRetryableFetchErrors(),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.KeepControlRecords(),
		kgo.AdjustFetchOffsetsFn(m.starting), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost),
		kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(1<<20), kgo.MaxDecompressBatchBytes(64<<20),
		kgo.MetadataMaxAge(time.Minute), // new partitions are found within it
	)
	if cfg.ServerSideBalancer {
		m.options = append(m.options, kgo.ServerSideBalancer())
	}
	m.options = append(m.options, options...)
	return m, kgo.ValidateOpts(m.options...)
}

// run is the member's life: see Consumer.Run.
func (m *member) run(ctx context.Context) error {
	defer m.stop(nil)
	client, err := kgo.NewClient(m.options...)
	if err != nil {
		err = fmt.Errorf("open Kafka client of group %s: %w", m.group, err)
		m.stop(err)
		return err
	}
	m.client = client
	close(m.ready)
	stopObserving, err := m.metrics.observe(m.group, m.look)
	if err != nil {
		m.cfg.Log.Warn("instruments of a group cannot be observed", "group", m.group, "error", err)
	}
	defer stopObserving()

	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var helpers sync.WaitGroup
	helpers.Go(func() { m.commitLoop(life) })
	helpers.Go(func() { m.gapLoop(life) })
	helpers.Go(func() { m.resumeLoop(life) })

	select {
	case <-ctx.Done():
	case <-m.stopping:
	}
	m.stop(nil)
	m.polling <- struct{}{} // no poll is under way, and none begins
	end()
	helpers.Wait()
	m.leave(ctx)
	return m.reason()
}

// leave revokes everything, which commits, and leaves the group.
func (m *member) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	m.client.AllowRebalance()
	if err := m.client.LeaveGroupContext(ctx); err != nil {
		m.cfg.Log.Warn("group did not confirm that this member left: its partitions wait for the session timeout", "group", m.group, "error", err)
	}
	m.client.Close()
}

// stop ends polling, for a reason or orderly; the first call counts.
func (m *member) stop(reason error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return
	}
	m.stopped, m.failure = true, reason
	close(m.stopping)
	if m.cancelPoll != nil {
		m.cancelPoll()
	}
}

func (m *member) reason() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failure
}

// ended is what a poll says after stop.
func (m *member) ended() error {
	if err := m.reason(); err != nil {
		return err
	}
	return ErrClosed
}

// batch is what one poll brought of one partition.
type batch struct {
	assignment *assignment
	records    []*kgo.Record
	tooLarge   span // offsets that were not read, instead of records
}

// poll waits for records of at most maxPoll, registers them and returns them
// by partition. The records alias Kafka's buffers. For one goroutine.
func (m *member) poll(caller context.Context) ([]batch, error) {
	if err := m.enterPoll(caller); err != nil {
		return nil, err
	}
	defer m.leavePoll()
	ctx, cancel := context.WithCancel(caller)
	defer cancel()
	m.mu.Lock()
	if m.stopped {
		cancel()
	}
	m.cancelPoll = cancel
	m.mu.Unlock()
	for {
		m.lastPoll.Store(time.Now().UnixNano())
		fetches := m.client.PollRecords(ctx, maxPoll)
		batches := m.register(ctx, fetches)
		failed := m.pollErrors(ctx, fetches, &batches)
		m.client.AllowRebalance()
		m.lastPoll.Store(time.Now().UnixNano())
		if len(batches) > 0 {
			m.pollPause = 0
			return batches, nil
		}
		select {
		case <-m.stopping:
			return nil, m.ended()
		default:
		}
		if caller.Err() != nil {
			return nil, caller.Err()
		}
		if failed {
			m.pollPause = min(max(2*m.pollPause, pollPauseLeast), pollPauseMost)
			m.wait(ctx, m.pollPause)
		}
	}
}

func (m *member) enterPoll(ctx context.Context) error {
	select {
	case <-m.ready:
	case <-m.stopping:
		return m.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case m.polling <- struct{}{}:
		return nil
	case <-m.stopping:
		return m.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *member) leavePoll() {
	m.mu.Lock()
	m.cancelPoll = nil
	m.mu.Unlock()
	<-m.polling
}

func (m *member) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// register enters what was fetched into the trackers, while rebalances are
// blocked, and pauses the partitions whose window is full.
func (m *member) register(ctx context.Context, fetches kgo.Fetches) []batch {
	var batches []batch
	var full map[string][]int32
	now, window := time.Now(), limits{m.cfg.WindowRecords, m.cfg.WindowBytes}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		a := m.assignment(p.Topic, p.Partition)
		if lost, yes := a.rewound(p.Records[0].Offset); yes {
			a = m.startOver(ctx, a, lost)
		}
		if a.copiedBelow < 0 {
			a.copiedBelow = p.HighWatermark
		}
		holes, stop := a.register(p.Records, now, window)
		for _, h := range holes {
			m.gap(ctx, Gap{Topic: a.topic, Partition: a.partition, From: h.from, To: h.to})
		}
		if stop {
			if full == nil {
				full = map[string][]int32{}
			}
			full[a.topic] = append(full[a.topic], a.partition)
		}
		m.metrics.addPolled(ctx, a.topic, len(p.Records))
		batches = append(batches, batch{assignment: a, records: p.Records})
	})
	if full != nil {
		m.client.PauseFetchPartitions(full)
	}
	return batches
}

// assignment finds the tracker of a partition, or begins one.
func (m *member) assignment(topic string, partition int32) *assignment {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.assigned[topic][partition]; a != nil {
		return a
	}
	return m.begin(topic, partition, -1)
}

func (m *member) begin(topic string, partition int32, committed int64) *assignment {
	if old := m.assigned[topic][partition]; old != nil {
		old.revoke()
	}
	a := newAssignment(topic, partition, committed)
	a.again = topic == m.again
	if m.assigned[topic] == nil {
		m.assigned[topic] = map[int32]*assignment{}
	}
	m.assigned[topic][partition] = a
	return a
}

// starting is told the committed offsets of partitions that were assigned,
// before they are fetched: the first record delivered must be the one there.
func (m *member) starting(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, partitions := range offsets {
		for partition, offset := range partitions {
			m.begin(topic, partition, max(offset.EpochOffset().Offset, -1))
		}
	}
	return offsets, nil
}

func (m *member) revoked(ctx context.Context, _ *kgo.Client, partitions map[string][]int32) {
	m.release(ctx, partitions, true)
}

func (m *member) lost(ctx context.Context, _ *kgo.Client, partitions map[string][]int32) {
	m.release(ctx, partitions, false)
}

// release ends assignments. Under the turn nobody else commits: after the last
// commit here nothing of these partitions is ever committed again.
func (m *member) release(ctx context.Context, partitions map[string][]int32, commit bool) {
	gone := m.take(partitions)
	if len(gone) == 0 {
		return
	}
	m.turn <- struct{}{}
	paused := map[string][]int32{}
	for _, a := range gone {
		if a.revoke() {
			paused[a.topic] = append(paused[a.topic], a.partition)
		}
	}
	if commit {
		m.commit(ctx, gone)
	}
	<-m.turn
	m.client.ResumeFetchPartitions(paused) // a pause outlives the assignment
	if m.hooks.Revoked != nil {
		for _, a := range gone {
			m.hooks.Revoked(Partition{Topic: a.topic, Number: a.partition})
		}
	}
}

func (m *member) take(partitions map[string][]int32) (gone []*assignment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, numbers := range partitions {
		for _, number := range numbers {
			if a := m.assigned[topic][number]; a != nil {
				gone = append(gone, a)
				delete(m.assigned[topic], number)
			}
		}
	}
	return gone
}

// startOver ends an assignment whose log was cut and begins another: the
// offsets now name other records.
func (m *member) startOver(ctx context.Context, old *assignment, cut span) *assignment {
	m.take(map[string][]int32{old.topic: {old.partition}})
	m.turn <- struct{}{}
	paused := old.revoke()
	<-m.turn
	if paused {
		m.client.ResumeFetchPartitions(map[string][]int32{old.topic: {old.partition}})
	}
	if m.hooks.Revoked != nil {
		m.hooks.Revoked(Partition{Topic: old.topic, Number: old.partition})
	}
	m.gap(ctx, Gap{Topic: old.topic, Partition: old.partition, From: cut.from, To: cut.to})
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begin(old.topic, old.partition, cut.from)
}

// finish notes that a record of a is finished.
func (m *member) finish(a *assignment, offset int64) {
	if a.finish(offset, limits{m.cfg.WindowRecords, m.cfg.WindowBytes}) {
		select {
		case m.resume <- a:
		case <-m.stopping:
		}
	}
}

// resumeLoop keeps finish from waiting for the client's locks.
func (m *member) resumeLoop(ctx context.Context) {
	for {
		select {
		case a := <-m.resume:
			m.client.ResumeFetchPartitions(map[string][]int32{a.topic: {a.partition}})
		case <-ctx.Done():
			return
		}
	}
}

// all are the assignments of now.
func (m *member) all() (list []*assignment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, partitions := range m.assigned {
		for _, a := range partitions {
			list = append(list, a)
		}
	}
	return list
}

func (m *member) look(now time.Time) (open, paused int, age time.Duration) {
	for _, a := range m.all() {
		a.mu.Lock()
		open += a.t.open
		age = max(age, a.t.age(now))
		if a.paused {
			paused++
		}
		a.mu.Unlock()
	}
	return open, paused, age
}

// pollErrors handles what went wrong in a poll and tells whether anything did.
func (m *member) pollErrors(ctx context.Context, fetches kgo.Fetches, batches *[]batch) (failed bool) {
	fetches.EachError(func(topic string, partition int32, err error) {
		var large *kgo.ErrDecompressTooLarge
		switch {
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return
		case errors.Is(err, kgo.ErrClientClosed):
			m.stop(nil)
			return
		case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.UnknownTopicOrPartition):
			m.topicMissing(topic, err, time.Now())
		case errors.As(err, &large):
			*batches = append(*batches, m.skip(large))
		}
		failed = true
		m.metrics.addPollError(ctx, m.group)
		m.complain(topic, partition, err)
	})
	return failed
}

// absence is how long fetches have been saying that a topic does not exist.
type absence struct{ since, last time.Time }

// topicMissing ends the member when a topic that it fetched from stays away.
// For seconds that is normal: a new topic is not known to all brokers at once.
func (m *member) topicMissing(topic string, err error, now time.Time) {
	a := m.missing[topic]
	if a == nil || now.Sub(a.last) > 2*pollPauseMost {
		a = &absence{since: now}
		m.missing[topic] = a
	}
	a.last = now
	if m.consumed(topic) && now.Sub(a.since) >= missingLimit {
		m.stop(fmt.Errorf("topic %s: %w: %w", topic, ErrTopicGone, err))
	}
}

// consumed tells whether partitions of the topic were ever assigned: before
// that it is just not created yet.
func (m *member) consumed(topic string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.assigned[topic]
	return ok
}

// skip steps over a batch that would not fit into memory: it is handed on as
// one record without content, so that what is behind it can go on.
func (m *member) skip(large *kgo.ErrDecompressTooLarge) batch {
	a := m.assignment(large.Topic, large.Partition)
	skipped := a.stepOver(large, time.Now())
	m.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{
		large.Topic: {large.Partition: {Epoch: large.Epoch, Offset: large.NextOffset}},
	})
	return batch{assignment: a, tooLarge: skipped}
}

func (m *member) complain(topic string, partition int32, err error) {
	if m.said.fresh(err, topic, partition) {
		m.cfg.Log.Warn("poll failed; it is tried again", "group", m.group, "topic", topic, "partition", partition, "error", m.cfg.explain(err))
	}
}
