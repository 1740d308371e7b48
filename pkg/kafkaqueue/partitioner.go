package kafkaqueue

import (
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kgo"
)

// spread puts records with a key where Kafka's own clients put them, and
// those without round robin, from a random start: two tasks submitted one
// after the other, by one process or by two, should not wait for one another.
type spread struct{ keyed kgo.Partitioner }

func newPartitioner() kgo.Partitioner { return spread{kgo.StickyKeyPartitioner(nil)} }

// ForTopic is part of kgo.Partitioner.
func (s spread) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicSpread{keyed: s.keyed.ForTopic(topic), next: rand.Int()} //nolint:gosec // not a secret
}

type topicSpread struct {
	keyed kgo.TopicPartitioner
	next  int
}

// RequiresConsistency is part of kgo.TopicPartitioner.
func (s *topicSpread) RequiresConsistency(r *kgo.Record) bool { return r.Key != nil }

// Partition is part of kgo.TopicPartitioner.
func (s *topicSpread) Partition(r *kgo.Record, n int) int {
	if r.Key != nil {
		return s.keyed.Partition(r, n)
	}
	s.next++
	return int(uint(s.next) % uint(n))
}
