package kafkaqueue

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

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
			at := max(offset.EpochOffset().Offset, -1)
			if m.since != 0 && at == m.since {
				at = -1 // a time: which offset that is shows with the first record
			}
			m.begin(topic, partition, at)
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
	<-m.ready // the client calls back before NewClient has returned it
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
				if !mutant.On("commit after a revoke") {
					delete(m.assigned[topic], number)
				}
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
	resume := a.finish(offset, limits{m.cfg.WindowRecords, m.cfg.WindowBytes})
	m.finished(a)
	if resume {
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
