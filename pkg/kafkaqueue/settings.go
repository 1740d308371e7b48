package kafkaqueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Limits of a setting.
const (
	MaxSettingKeyBytes   = 200
	MaxSettingValueBytes = 64 << 10
)

// Settings follows the settings topic: dynamic settings and schedules by key,
// the newest value of each. Every process reads all of it when it starts. It
// is safe for concurrent use.
type Settings struct {
	cfg   Config
	topic string
	ready chan struct{}

	mu     sync.Mutex
	newest map[string]SettingVersion
}

// SettingVersion is one value that a setting had.
type SettingVersion struct {
	Key      string
	Value    []byte    // nil: unset
	Replaced []byte    // the value before; nil: none, or not known any more
	By       string    // who set it, as far as they told
	At       time.Time // by the clock of whoever set it
	Offset   int64     // in the settings topic
}

// setBy is the header that names who set a setting.
const setBy = "set-by"

func versionOf(r *kgo.Record) SettingVersion {
	v := SettingVersion{Key: string(r.Key), Value: bytes.Clone(r.Value), At: r.Timestamp, Offset: r.Offset}
	for _, h := range r.Headers {
		if h.Key == setBy {
			v.By = task.Cut(string(h.Value))
		}
	}
	return v
}

// NewSettings does not connect yet.
func NewSettings(cfg Config) (*Settings, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &Settings{cfg: cfg, topic: names{cfg.Prefix}.settings(), ready: make(chan struct{}), newest: map[string]SettingVersion{}}, nil
}

// Ready is closed when everything that was set before Run is known.
func (s *Settings) Ready() <-chan struct{} { return s.ready }

// Get returns the newest value of key; false when it was never set, or unset.
// The value must not be changed.
func (s *Settings) Get(key string) ([]byte, bool) {
	v, ok := s.Version(key)
	return v.Value, ok
}

// Version is [Settings.Get] with who set it, and when.
func (s *Settings) Version(key string) (SettingVersion, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.newest[key]
	return v, ok
}

// All is a copy of everything that is set.
func (s *Settings) All() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string][]byte, len(s.newest))
	for key, v := range s.newest {
		all[key] = v.Value
	}
	return all
}

// Run follows the topic until ctx ends, which is no error. changed is called
// for each key whose value is another than before, nil when it was unset, one
// at a time and also for what is read at the start.
func (s *Settings) Run(ctx context.Context, changed func(key string, value []byte)) error {
	client, err := kgo.NewClient(append(s.cfg.clientOptions(),
		kgo.ConsumeTopics(s.topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords(), kgo.FetchMaxBytes(1<<20), kgo.MaxDecompressBatchBytes(64<<20),
	)...)
	if err != nil {
		return fmt.Errorf("open Kafka client of the settings: %w", err)
	}
	defer client.Close()
	var said complaints
	left := s.ends(ctx, client, &said)
	for pause := pollPauseLeast; ctx.Err() == nil; {
		s.settle(left)
		fetches := client.PollRecords(ctx, maxPoll)
		if ctx.Err() != nil {
			return nil
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				s.apply(r, changed)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
		if fetches.NumRecords() > 0 {
			pause = pollPauseLeast
			continue
		}
		fetches.EachError(func(_ string, _ int32, err error) {
			if said.fresh(err) {
				s.cfg.Log.Warn("settings cannot be followed; it is tried again", "error", s.cfg.explain(err))
			}
		})
		if sleep(ctx, pause) != nil {
			return nil
		}
		pause = min(2*pause, pollPauseMost)
	}
	return nil
}

// settle closes ready once nothing of what was there is missing.
func (s *Settings) settle(left map[int32]int64) {
	select {
	case <-s.ready:
	default:
		if len(left) == 0 {
			close(s.ready)
		}
	}
}

// ends asks, until there is an answer or ctx ends, how far the topic reaches now.
// Compaction always keeps the last record.
func (s *Settings) ends(ctx context.Context, client *kgo.Client, said *complaints) map[int32]int64 {
	for pause := pollPauseLeast; ; pause = min(2*pause, pollPauseMost) {
		left := map[int32]int64{}
		admin := kadm.NewClient(client)
		ends, err := admin.ListEndOffsets(ctx, s.topic)
		if err = errors.Join(err, ends.Error()); err == nil {
			var starts kadm.ListedOffsets
			starts, err = admin.ListStartOffsets(ctx, s.topic)
			err = errors.Join(err, starts.Error())
			ends.Each(func(end kadm.ListedOffset) {
				if start, ok := starts.Lookup(end.Topic, end.Partition); ok && start.Offset < end.Offset {
					left[end.Partition] = end.Offset
				}
			})
		}
		if err == nil {
			return left
		}
		if ctx.Err() == nil && said.fresh(err) {
			s.cfg.Log.Warn("settings cannot be read; it is tried again", "error", s.cfg.explain(err))
		}
		if sleep(ctx, pause) != nil {
			return nil
		}
	}
}

func (s *Settings) apply(r *kgo.Record, changed func(string, []byte)) {
	v := versionOf(r)
	s.mu.Lock()
	old, was := s.newest[v.Key]
	v.Replaced = old.Value
	if v.Value == nil {
		delete(s.newest, v.Key)
	} else {
		s.newest[v.Key] = v
	}
	s.mu.Unlock()
	if was != (v.Value != nil) || !bytes.Equal(old.Value, v.Value) {
		changed(v.Key, v.Value)
	}
}

// ReadSettings calls fn for every version of every setting that the topic still
// has, the oldest first, until its end as it was at the call: the newest of
// each key, and those that it replaced in the last days. It ends with fn's
// first error.
func ReadSettings(ctx context.Context, cfg Config, fn func(SettingVersion) error) error {
	last := map[string][]byte{}
	return readTopic(ctx, cfg, names{cfg.Prefix}.settings(), time.Time{}, func(r *kgo.Record) error {
		v := versionOf(r)
		v.Replaced, last[v.Key] = last[v.Key], v.Value
		return fn(v)
	})
}

// Set stores a setting for all processes, and returns when Kafka has it; nil
// unsets it. When ctx ends first the error is [ErrUnknown].
func (p *Producer) Set(ctx context.Context, key string, value []byte) error {
	return p.SetBy(ctx, key, value, "")
}

// SetBy is [Producer.Set] for the history: by says who sets it.
func (p *Producer) SetBy(ctx context.Context, key string, value []byte, by string) error {
	if key == "" || len(key) > MaxSettingKeyBytes || len(value) > MaxSettingValueBytes {
		return fmt.Errorf("%w: a setting has a key of 1 to %d bytes and at most %d bytes of value", task.ErrInvalid, MaxSettingKeyBytes, MaxSettingValueBytes)
	}
	acked := make(chan error, 1)
	pub := &publication{producer: p, kind: kindSetting, acked: func(err error) { acked <- err }}
	pub.record = kgo.Record{Topic: p.names.settings(), Key: []byte(key), Value: value, Timestamp: time.Now()}
	if by != "" {
		pub.record.Headers = []kgo.RecordHeader{{Key: setBy, Value: []byte(task.Cut(by))}}
	}
	p.publish(pub) //nolint:contextcheck // what is published outlives its caller
	select {
	case err := <-acked:
		return err
	case <-ctx.Done():
		return fmt.Errorf("set %s: %w: %w", key, errSettingUnknown, p.late(ctx))
	}
}

// errSettingUnknown wraps ErrUnknown in words that fit a setting.
var errSettingUnknown = &unknownError{"unknown whether Kafka has the setting: set it again"}

type unknownError struct{ text string }

func (e *unknownError) Error() string { return e.text }
func (e *unknownError) Unwrap() error { return ErrUnknown }
