package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Admin creates, checks and describes topics and groups. It is safe for
// concurrent use.
type Admin struct {
	cfg    Config
	client *kgo.Client
	kadm   *kadm.Client
}

// OpenAdmin does not connect yet; use [Admin.Ping] to find out.
func OpenAdmin(cfg Config) (*Admin, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	// kadm answers from metadata that may be as old as this: 5 s unless set,
	// and a topic that was just created would be missing for as long.
	client, err := kgo.NewClient(append(cfg.clientOptions(), kgo.MetadataMinAge(20*time.Millisecond))...)
	if err != nil {
		return nil, fmt.Errorf("open Kafka admin client: %w", err)
	}
	return &Admin{cfg: cfg, client: client, kadm: kadm.NewClient(client)}, nil
}

// Close ends the connections.
func (a *Admin) Close() { a.client.Close() }

// Ping asks a broker for an answer.
func (a *Admin) Ping(ctx context.Context) error {
	if err := a.client.Ping(ctx); err != nil {
		return fmt.Errorf("ping Kafka: %w", a.cfg.explain(err))
	}
	return nil
}

// Ensure creates the topics that are missing and compares the others with
// what the queue's promises need: the error names every deviation that breaks
// one. It changes no topic that exists.
func (a *Admin) Ensure(ctx context.Context, types []string) error {
	if err := validTypes(types); err != nil {
		return err
	}
	if err := a.create(ctx, types); err != nil {
		return err
	}
	findings, err := a.checkTopics(ctx, a.cfg.specs(types))
	if err != nil {
		return err
	}
	a.warn(findings)
	var errs []error
	for _, f := range findings {
		if f.Severity == SeverityError {
			errs = append(errs, fmt.Errorf("%s: %s", f.What, f.Advice))
		}
	}
	return errors.Join(errs...)
}

// warn logs the warnings: most concern every topic, and then one line says so.
func (a *Admin) warn(all findings) {
	alike := map[string]int{}
	for _, f := range all {
		alike[f.Advice]++
	}
	for _, f := range all {
		if n := alike[f.Advice]; f.Severity == SeverityWarning && n > 0 {
			a.cfg.Log.Warn("topics could be safer", "what", f.What, "alike", n, "advice", f.Advice)
			alike[f.Advice] = 0
		}
	}
}

func validTypes(types []string) error {
	var errs []error
	for _, typ := range types {
		errs = append(errs, task.ValidateType(typ))
	}
	return errors.Join(errs...)
}

// create makes what is missing, and waits until every partition has a leader.
func (a *Admin) create(ctx context.Context, types []string) error {
	specs := a.cfg.specs(types)
	missing, err := a.missing(ctx, specs)
	if err != nil {
		return err
	}
	for _, s := range missing {
		_, err := a.kadm.CreateTopic(ctx, s.partitions, a.cfg.Topics.Replication, s.configs(a.cfg.Topics.MinInsync), s.name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", s.name, a.cfg.explain(err))
		}
	}
	for pause := 10 * time.Millisecond; len(missing) > 0; pause = min(2*pause, time.Second) {
		if missing, err = a.missing(ctx, specs); err != nil {
			return err
		}
		if len(missing) > 0 {
			if err := sleep(ctx, pause); err != nil {
				return fmt.Errorf("wait for topic %s: %w", missing[0].name, err)
			}
		}
	}
	return nil
}

// missing are the topics that do not exist or have a partition without leader.
func (a *Admin) missing(ctx context.Context, specs []spec) (missing []spec, err error) {
	topics, err := a.list(ctx, specs)
	if err != nil {
		return nil, err
	}
	for _, s := range specs {
		topic, ok := topics[s.name]
		ready := ok && topic.Err == nil && len(topic.Partitions) > 0
		if ok && topic.Err != nil && !errors.Is(topic.Err, kerr.UnknownTopicOrPartition) && !kerr.IsRetriable(topic.Err) {
			return nil, fmt.Errorf("describe topic %s: %w", s.name, topic.Err)
		}
		for _, p := range topic.Partitions {
			ready = ready && p.Err == nil && p.Leader >= 0
		}
		if !ready {
			missing = append(missing, s)
		}
	}
	return missing, nil
}

func (a *Admin) list(ctx context.Context, specs []spec) (kadm.TopicDetails, error) {
	var wanted []string
	for _, s := range specs {
		wanted = append(wanted, s.name)
	}
	topics, err := a.kadm.ListTopics(ctx, wanted...)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", a.cfg.explain(err))
	}
	return topics, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// coordinatorWait bounds the wait for a group's coordinator: a cluster's first
// question for one makes it create the topic that keeps its groups.
const coordinatorWait = 10 * time.Second

// Alone tells whether the groups of these types have no member at all. Ask
// before the own consumers run. An error means that it is not known.
func (a *Admin) Alone(ctx context.Context, types []string) (bool, error) {
	for _, typ := range types {
		members, err := a.members(ctx, names{a.cfg.Prefix}.group(typ))
		for end := time.Now().Add(coordinatorWait); kerr.IsRetriable(err) && time.Now().Before(end); {
			if err = sleep(ctx, 100*time.Millisecond); err == nil {
				members, err = a.members(ctx, names{a.cfg.Prefix}.group(typ))
			}
		}
		if err != nil {
			return false, fmt.Errorf("members of the group of type %s: %w", typ, a.cfg.explain(err))
		}
		if members > 0 {
			return false, nil
		}
	}
	return true, nil
}

// members counts a group's members. A classic group and one of KIP-848 are
// asked about differently, and each question has a misleading answer for the
// other kind: Dead without an error, or an error.
func (a *Admin) members(ctx context.Context, group string) (int, error) {
	classic, err := a.kadm.DescribeGroups(ctx, group)
	if err != nil {
		return 0, err
	}
	described := classic[group]
	if described.Err != nil && !errors.Is(described.Err, kerr.GroupIDNotFound) {
		return 0, described.Err
	}
	if n := len(described.Members); n > 0 || described.Err == nil && !strings.EqualFold(described.State, "Dead") {
		return n, nil
	}
	modern, err := a.kadm.DescribeConsumerGroups(ctx, group)
	if errors.Is(err, kerr.UnsupportedVersion) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	switch d := modern[group]; {
	case errors.Is(d.Err, kerr.GroupIDNotFound), errors.Is(d.Err, kerr.UnsupportedVersion):
		return 0, nil
	default:
		return len(d.Members), d.Err
	}
}

// Backlog is what waits for one type.
type Backlog struct {
	Lag       int64         // records not finished, in the task topic and the return topic
	OldestAge time.Duration // of the oldest of them, by the records' timestamps
}

// Backlog tells per type what waits. The age costs one small read per
// partition with a lag.
func (a *Admin) Backlog(ctx context.Context, types []string) (map[string]Backlog, error) {
	backlogs := map[string]Backlog{}
	for _, typ := range types {
		n := names{a.cfg.Prefix}
		waits, err := a.unfinished(ctx, n.group(typ), n.task(typ), n.again(typ))
		if err != nil {
			return nil, fmt.Errorf("backlog of type %s: %w", typ, a.cfg.explain(err))
		}
		var b Backlog
		for _, partitions := range waits {
			for _, s := range partitions {
				b.Lag += s.to - s.from
			}
		}
		oldest, err := a.oldest(ctx, waits)
		if err != nil {
			return nil, fmt.Errorf("age of the backlog of type %s: %w", typ, a.cfg.explain(err))
		}
		if !oldest.IsZero() {
			b.OldestAge = max(time.Since(oldest), 0)
		}
		backlogs[typ] = b
	}
	return backlogs, nil
}

// unfinished are the offsets between what a group committed and the end, of
// each partition that has some.
func (a *Admin) unfinished(ctx context.Context, group string, topics ...string) (map[string]map[int32]span, error) {
	committed, err := a.kadm.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, err
	}
	starts, err := a.kadm.ListStartOffsets(ctx, topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, err
	}
	ends, err := a.kadm.ListEndOffsets(ctx, topics...)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, err
	}
	waits := map[string]map[int32]span{}
	ends.Each(func(end kadm.ListedOffset) {
		from := int64(0)
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok {
			from = start.Offset
		}
		if at, ok := committed.Lookup(end.Topic, end.Partition); ok && at.Err == nil {
			from = max(from, at.At)
		}
		if from < end.Offset {
			if waits[end.Topic] == nil {
				waits[end.Topic] = map[int32]span{}
			}
			waits[end.Topic][end.Partition] = span{from, end.Offset}
		}
	})
	return waits, nil
}

// oldest reads the first record of each partition.
func (a *Admin) oldest(ctx context.Context, waits map[string]map[int32]span) (oldest time.Time, err error) {
	from, left := map[string]map[int32]kgo.Offset{}, 0
	for topic, partitions := range waits {
		from[topic] = map[int32]kgo.Offset{}
		for partition, s := range partitions {
			from[topic][partition] = kgo.NewOffset().At(s.from)
			left++
		}
	}
	if left == 0 {
		return oldest, nil
	}
	client, err := kgo.NewClient(append(a.cfg.clientOptions(),
		kgo.ConsumePartitions(from), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(1<<20), kgo.FetchMaxPartitionBytes(1), // one batch each
		kgo.MaxDecompressBatchBytes(64<<20),
	)...)
	if err != nil {
		return oldest, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, readIdle)
	defer cancel()
	seen := map[Partition]bool{}
	for left > 0 {
		fetches := client.PollRecords(ctx, maxPoll)
		if ctx.Err() != nil { // deleted meanwhile: what is known has to do
			return oldest, context.Cause(ctx)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			at := Partition{p.Topic, p.Partition}
			if len(p.Records) > 0 && !seen[at] {
				seen[at] = true
				left--
				if t := p.Records[0].Timestamp; oldest.IsZero() || t.Before(oldest) {
					oldest = t
				}
			}
		})
	}
	return oldest, nil
}
