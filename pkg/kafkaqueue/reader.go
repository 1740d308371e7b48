package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// readIdle is how long a reader waits for records before it asks whether those
// it waits for were deleted meanwhile.
const readIdle = 5 * time.Second

// readTopic calls fn for the records that were appended to a topic since a
// time and before the call. Each partition is in order.
func readTopic(ctx context.Context, cfg Config, topic string, since time.Time, fn func(*kgo.Record) error) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	r := &reader{cfg: cfg, topic: topic}
	if err := r.read(ctx, since, fn); err != nil {
		return fmt.Errorf("read topic %s: %w", topic, cfg.explain(err))
	}
	return nil
}

type reader struct {
	cfg    Config
	topic  string
	client *kgo.Client
	left   map[int32]span // what each partition still owes
}

func (r *reader) read(ctx context.Context, since time.Time, fn func(*kgo.Record) error) (err error) {
	r.client, err = kgo.NewClient(append(r.cfg.clientOptions(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(1<<20), kgo.MaxDecompressBatchBytes(64<<20),
	)...)
	if err != nil {
		return err
	}
	defer r.client.Close()
	if err := r.bounds(ctx, since); err != nil || len(r.left) == 0 {
		return err
	}
	from := map[int32]kgo.Offset{}
	for partition, s := range r.left {
		from[partition] = kgo.NewOffset().At(s.from)
	}
	r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: from})
	for len(r.left) > 0 {
		if err := r.poll(ctx, fn); err != nil {
			return err
		}
	}
	return nil
}

// bounds finds what is to be read. Ends are listed first: a record between the
// two questions is then no gap.
func (r *reader) bounds(ctx context.Context, since time.Time) error {
	admin := kadm.NewClient(r.client)
	ends, err := admin.ListEndOffsets(ctx, r.topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return err
	}
	var starts kadm.ListedOffsets
	if since.IsZero() {
		starts, err = admin.ListStartOffsets(ctx, r.topic)
	} else {
		starts, err = admin.ListOffsetsAfterMilli(ctx, since.UnixMilli(), r.topic)
	}
	if err = errors.Join(err, starts.Error()); err != nil {
		return err
	}
	r.left = map[int32]span{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok && start.Offset < end.Offset {
			r.left[end.Partition] = span{start.Offset, end.Offset}
		}
	})
	return nil
}

// poll reads once. A pause without records may mean that retention took what
// is waited for: the log's start tells.
func (r *reader) poll(ctx context.Context, fn func(*kgo.Record) error) error {
	wait, cancel := context.WithTimeout(ctx, readIdle)
	fetches := r.client.PollRecords(wait, 10*maxPoll)
	cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	var failure error
	for iter := fetches.RecordIter(); !iter.Done(); {
		record := iter.Next()
		owed, ok := r.left[record.Partition]
		if !ok || record.Offset >= owed.to {
			delete(r.left, record.Partition)
			continue
		}
		if !record.Attrs.IsControl() && record.Offset >= owed.from {
			if err := fn(record); err != nil {
				return err
			}
		}
		r.advance(record.Partition, record.Offset+1)
	}
	fetches.EachError(func(_ string, _ int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) {
			failure = err
		}
	})
	var large *kgo.ErrDecompressTooLarge
	switch {
	case errors.As(failure, &large), errors.Is(failure, kerr.UnknownTopicID), errors.Is(failure, kerr.TopicAuthorizationFailed):
		return failure
	case fetches.NumRecords() == 0:
		return r.skipDeleted(ctx)
	}
	return nil
}

func (r *reader) advance(partition int32, to int64) {
	owed, ok := r.left[partition]
	switch {
	case !ok:
	case to >= owed.to:
		delete(r.left, partition)
	default:
		r.left[partition] = span{max(owed.from, to), owed.to}
	}
}

func (r *reader) skipDeleted(ctx context.Context) error {
	starts, err := kadm.NewClient(r.client).ListStartOffsets(ctx, r.topic)
	if err = errors.Join(err, starts.Error()); err != nil {
		return err
	}
	starts.Each(func(s kadm.ListedOffset) { r.advance(s.Partition, s.Offset) })
	return nil
}
