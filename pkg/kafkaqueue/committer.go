package kafkaqueue

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

const (
	commitEvery   = 500 * time.Millisecond
	commitTimeout = 5 * time.Second
)

// commitLoop commits what moved. It is the only one that commits besides a
// revoke, and both hold the turn: a watermark that is read before the turn and
// sent after another's would send the committed offset backwards.
func (m *member) commitLoop(ctx context.Context) {
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		m.commitOnce(ctx)
	}
}

func (m *member) commitOnce(ctx context.Context) {
	m.turn <- struct{}{}
	m.commit(ctx, m.all())
	<-m.turn
}

// commit sends the watermarks that are due. The caller holds the turn. What
// fails stays due: the next turn sends what is newest then.
func (m *member) commit(ctx context.Context, assignments []*assignment) {
	due := map[string]map[int32]kgo.EpochOffset{}
	sent := map[string]map[int32]*assignment{}
	for _, a := range assignments {
		offset, ok := a.due()
		if !ok {
			continue
		}
		if due[a.topic] == nil {
			due[a.topic], sent[a.topic] = map[int32]kgo.EpochOffset{}, map[int32]*assignment{}
		}
		due[a.topic][a.partition], sent[a.topic][a.partition] = offset, a
	}
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var failure error
	m.client.CommitOffsetsSync(ctx, due, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			failure = err
			return
		}
		for _, t := range response.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !mutant.On("a refused commit counts") {
					failure = err
				} else if a := sent[t.Topic][p.Partition]; a != nil {
					a.committed(due[t.Topic][p.Partition].Offset)
				}
			}
		}
	})
	m.metrics.addCommit(ctx, m.group, failure)
	switch {
	case failure == nil:
	case errors.Is(failure, kerr.RebalanceInProgress), errors.Is(failure, kerr.IllegalGeneration), errors.Is(failure, kerr.StaleMemberEpoch), errors.Is(failure, context.Canceled):
		m.cfg.Log.Debug("commit waits for a rebalance", "group", m.group, "error", failure)
	default:
		m.cfg.Log.Warn("commit failed; the next one takes it along", "group", m.group, "error", m.cfg.explain(failure))
	}
}
