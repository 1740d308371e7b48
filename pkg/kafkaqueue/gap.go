package kafkaqueue

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

const (
	gapEvery   = time.Minute
	gapTimeout = 10 * time.Second
)

// gap tells everybody who should know that records were lost.
func (m *member) gap(ctx context.Context, g Gap) {
	m.metrics.addGap(ctx, g)
	m.cfg.Log.Error("records were lost: Kafka does not have them any more", "topic", g.Topic, "partition", g.Partition, "from", g.From, "to", g.To, "held_here", g.Held)
	if m.hooks.Gap != nil && !mutant.On("gaps are not told") {
		m.hooks.Gap(g)
	}
}

// gapLoop compares the watermarks with where the logs start. Delivered offsets
// show a hole too, but only once there is something behind it.
func (m *member) gapLoop(ctx context.Context) {
	ticker := time.NewTicker(gapEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.watchGaps(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (m *member) watchGaps(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, gapTimeout)
	defer cancel()
	admin := kadm.NewClient(m.client)
	starts, err := admin.ListStartOffsets(ctx, m.topics...)
	if err != nil {
		m.cfg.Log.Debug("log starts cannot be listed", "group", m.group, "error", err)
		return
	}
	var ends kadm.ListedOffsets
	for _, a := range m.all() {
		start, ok := starts.Lookup(a.topic, a.partition)
		if !ok || start.Err != nil {
			continue
		}
		if a.unread() {
			if ends == nil {
				if ends, err = admin.ListEndOffsets(ctx, m.topics...); err != nil {
					m.cfg.Log.Debug("log ends cannot be listed", "group", m.group, "error", err)
					return
				}
			}
			if end, ok := ends.Lookup(a.topic, a.partition); ok && end.Err == nil && end.Offset == start.Offset {
				a.beginsAt(start.Offset)
			}
			continue
		}
		if gone, held := a.logStarts(start.Offset); gone.to > gone.from {
			m.gap(ctx, Gap{Topic: a.topic, Partition: a.partition, From: gone.from, To: gone.to, Held: held})
		}
	}
}
