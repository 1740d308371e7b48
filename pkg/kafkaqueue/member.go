package kafkaqueue

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

const leaveTimeout = 10 * time.Second

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
	since   int64  // where a new group starts, in ms; 0: at no time
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
		kgo.ConsumeStartOffset(firstOffset()), kgo.ConsumeResetOffset(firstOffset()),
		// Otherwise a topic that was deleted is never heard of, and fetched in a
		// tight loop: kept errors wait for the next poll, which pauses.
		kgo.KeepRetryableFetchErrors(),
		kgo.BlockRebalanceOnPoll(), kgo.KeepControlRecords(),
		kgo.AdjustFetchOffsetsFn(m.starting), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost),
		kgo.FetchMaxWait(cfg.FetchWait),
		kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(1<<20), kgo.MaxDecompressBatchBytes(64<<20),
		kgo.MetadataMaxAge(time.Minute), // new partitions are found within it
	)
	if !mutant.On("autocommit") {
		m.options = append(m.options, kgo.DisableAutoCommit())
	}
	if cfg.ServerSideBalancer {
		m.options = append(m.options, kgo.ServerSideBalancer())
	}
	m.options = append(m.options, options...)
	return m, kgo.ValidateOpts(m.options...)
}

// firstOffset is where a group begins that has committed nothing.
func firstOffset() kgo.Offset {
	if mutant.On("start at the end") {
		return kgo.NewOffset().AtEnd()
	}
	return kgo.NewOffset().AtStart()
}

// run is the member's life: see Consumer.Run.
func (m *member) run(ctx context.Context) error {
	defer m.stop(nil)
	clientCtx, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	client, err := kgo.NewClient(append(m.options, kgo.WithContext(clientCtx))...)
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
	m.leave(ctx, abandon)
	return m.reason()
}

// leave revokes everything, which commits, and leaves the group. A group that rebalances may take a minute to answer a
// join, and the client waits for that whatever the context of its leave: what does not answer in time is abandoned, the last
// commit, too.
func (m *member) leave(ctx context.Context, abandon func()) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	m.client.AllowRebalance()
	if err := m.client.LeaveGroupContext(ctx); err != nil {
		m.cfg.Log.Warn("group did not confirm that this member left: its partitions wait for the session timeout", "group", m.group, "error", err)
		abandon()
	}
	m.client.Close()
	// Close polls what nobody has polled, which can keep the goroutine of its own leave waiting for ever.
	m.client.AllowRebalance()
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
