package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

const (
	pollPauseLeast = 100 * time.Millisecond // after a poll that failed; doubles
	pollPauseMost  = 2 * time.Second
	pollRound      = 5 * time.Second  // of a poll that brings nothing: it shows that the loop comes round
	missingLimit   = 15 * time.Second // before a topic counts as gone
	missingQuiet   = 10 * time.Second // after which it counts as there again
)

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
		round, end := context.WithTimeout(ctx, pollRound)
		fetches := m.client.PollRecords(round, maxPoll)
		batches := m.register(ctx, fetches)
		failed := m.pollErrors(round, fetches, &batches)
		end()
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
		if failed && !mutant.On("no pause after poll errors") {
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
	if a == nil || now.Sub(a.last) > missingQuiet {
		a = &absence{since: now}
		m.missing[topic] = a
	}
	a.last = now
	if m.consumed(topic) && !mutant.On("a deleted topic is waited for") && now.Sub(a.since) >= missingLimit {
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
