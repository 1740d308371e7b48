package kafkaqueue

import (
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

// tiers are the delay topics, shortest first.
type tiers struct {
	delays []time.Duration
	topics []string
	tick   time.Duration
}

func newTiers(cfg Config) tiers {
	t := tiers{delays: cfg.Delays, tick: cfg.Tick}
	for _, d := range cfg.Delays {
		t.topics = append(t.topics, names{cfg.Prefix}.tier(d))
	}
	return t
}

// pick chooses where a record waits that is due at notBefore: in the tier of
// the longest delay that is not more than a tick too long. False means that
// less is left than the shortest one: the record goes to its target and waits
// there.
func (t tiers) pick(notBefore, now time.Time) (topic string, ok bool) {
	if notBefore.IsZero() {
		return "", false
	}
	rest := notBefore.Sub(now)
	if rest <= 0 {
		return "", false
	}
	for i, delay := range slices.Backward(t.delays) {
		if delay <= rest+t.tick || mutant.On("a delay may be too long") {
			return t.topics[i], true
		}
	}
	return "", false
}

// delay of a tier's topic.
func (t tiers) delay(topic string) time.Duration {
	for i, name := range t.topics {
		if name == topic {
			return t.delays[i]
		}
	}
	return 0
}
