package datanode

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/blevesearch/bleve/v2/index/scorch/mergeplan"
	"go.opentelemetry.io/otel/metric"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// Mode says where merges run.
type Mode string

// The modes of the setting offline.merge.
const (
	// Off merges here.
	Off Mode = "off"
	// Auto merges on offline nodes while there are any with room, their queue is young and the merge is large enough to be
	// worth the way; everything else, and what they do not get done, is merged here.
	Auto Mode = "auto"
	// Always merges on offline nodes alone, and waits for them.
	Always Mode = "always"
)

// ParseMode reads the name of a mode.
func ParseMode(name string) (Mode, error) {
	switch m := Mode(name); m {
	case Off, Auto, Always:
		return m, nil
	}
	return "", fmt.Errorf("%w: offline.merge is %q: use off, auto or always", ErrInvalid, name)
}

// Offline is what decides where merges run. It can be changed while a node runs.
type Offline struct {
	Merge Mode // Auto unless set

	// MinBytes is the size of inputs from which on a merge goes offline in Auto; default 1 MiB. Smaller ones are done
	// sooner than a task is on its way.
	MinBytes int64

	// MaxQueueAge is how long the oldest task of the type may have waited in Auto for another to be sent after it, and how
	// long a merge of ours waits for an offline node before it is taken back and merged here. Default 2 min.
	MaxQueueAge time.Duration

	// MaxQueueDepth is how many tasks may wait for a slot in Auto for another to be sent after them. Default 1000.
	MaxQueueDepth int64
}

// LocalMerges is what merges that run here may use, so that searches do not suffer. It can be changed while a node runs.
type LocalMerges struct {
	// AtOnce is how many run at the same time, of all shards; default 1.
	AtOnce int

	// BytesPerSecond that these write to the disk, all together; 0: no limit.
	BytesPerSecond int64
}

// Limits bound what a node holds. Zero fields have defaults.
type Limits struct {
	// Segments of a shard from which on writes wait for merges; default 200.
	Segments int
	// SegmentsWait is how long they wait before they are ErrBusy; default 10 s.
	SegmentsWait time.Duration
	// PendingBytes of writes that wait for their commit, per shard, before the next one is ErrBusy; default 128 MiB.
	PendingBytes int
	// GroupBytes of waiting writes are committed together; default 32 MiB. A single larger bulk is committed alone.
	GroupBytes int
	// CommitTimeout is how long the store may take for one commit; default 1 min.
	CommitTimeout time.Duration
	// OfflineMerges of one shard under way at a time; default 8.
	OfflineMerges int
	// Hits that one search may skip and return; default 10,000.
	Hits int
}

// Config is what a [Node] is opened with.
type Config struct {
	// Name of the node. Two nodes of one fleet need different names.
	Name  string
	Store remotestore.Store

	// Dir is the folder of the cache; only one process may use it.
	Dir string
	// CacheBytes bounds the segment files in Dir that nothing uses; default 1 GiB.
	CacheBytes int64

	// Queue carries merges to offline nodes. Without one all merges run here.
	Queue   Queue
	Offline Offline
	Local   LocalMerges
	Limits  Limits

	// Plan is bleve's merge policy; the default is DefaultPlan.
	Plan *mergeplan.MergePlanOptions

	// Refresh is how long an acknowledged write may take to become searchable; default 1 s.
	Refresh time.Duration
	// Poll is how often the store is asked for generations that others committed; default 5 s, and a fifth of it while
	// merges are offline. Events make it faster, not needless.
	Poll time.Duration
	// Retry is how long a merge that failed everywhere, or was cancelled, is left alone; default 1 min.
	Retry time.Duration

	Log   *slog.Logger
	Meter metric.Meter
}

// DefaultPlan is bleve's policy, tiers of ten and segments up to five million documents, but that up to ten segments are
// left as they are, however small: bleve itself would merge a few small ones with each bulk, which costs nothing in its
// memory and a commit here.
func DefaultPlan() mergeplan.MergePlanOptions {
	plan := mergeplan.DefaultMergePlanOptions
	plan.CalcBudget = func(total, first int64, o *mergeplan.MergePlanOptions) int {
		return max(mergeplan.CalcBudget(total, first, o), o.MaxSegmentsPerTier)
	}
	return plan
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Name != "" && len(c.Name) <= maxNodeNameBytes, "name of the node: 1 to %d bytes, not %d", maxNodeNameBytes, len(c.Name))
	check(c.Store != nil, "a data node needs a store")
	check(c.Dir != "", "a data node needs a folder for its cache")
	check(c.CacheBytes >= 0 && c.Refresh >= 0 && c.Poll >= 0 && c.Retry >= 0, "sizes and times must not be negative")
	l := c.Limits
	check(min(l.Segments, l.PendingBytes, l.GroupBytes, l.OfflineMerges, l.Hits) >= 0 && min(l.SegmentsWait, l.CommitTimeout) >= 0,
		"limits must not be negative: %+v", l)
	errs = append(errs, c.Offline.Validate(), c.Local.Validate())
	if c.Plan != nil {
		if err := mergeplan.ValidateMergePlannerOptions(c.Plan); err != nil {
			errs = append(errs, err)
		}
		check(c.Plan.SegmentsPerMergeTask >= 2, "merge policy: a merge takes 2 segments at least, not %d", c.Plan.SegmentsPerMergeTask)
	}
	return errors.Join(errs...)
}

const maxNodeNameBytes = 100

// Validate tells what is wrong with it.
func (o Offline) Validate() error {
	if o.Merge != "" {
		if _, err := ParseMode(string(o.Merge)); err != nil {
			return err
		}
	}
	if o.MinBytes < 0 || o.MaxQueueAge < 0 || o.MaxQueueDepth < 0 {
		return fmt.Errorf("%w: sizes and times must not be negative", ErrInvalid)
	}
	return nil
}

// Validate tells what is wrong with it.
func (l LocalMerges) Validate() error {
	if l.AtOnce < 0 || l.BytesPerSecond < 0 {
		return fmt.Errorf("%w: merges and bytes per second must not be negative", ErrInvalid)
	}
	return nil
}

func (o Offline) withDefaults() Offline {
	orDefault(&o.Merge, Auto)
	orDefault(&o.MinBytes, 1<<20)
	orDefault(&o.MaxQueueAge, 2*time.Minute)
	orDefault(&o.MaxQueueDepth, 1000)
	return o
}

func (c Config) withDefaults() Config {
	c.Offline = c.Offline.withDefaults()
	orDefault(&c.Local.AtOnce, 1)
	orDefault(&c.CacheBytes, 1<<30)
	orDefault(&c.Refresh, time.Second)
	orDefault(&c.Poll, 5*time.Second)
	orDefault(&c.Retry, time.Minute)
	orDefault(&c.Limits.Segments, 200)
	orDefault(&c.Limits.SegmentsWait, 10*time.Second)
	orDefault(&c.Limits.PendingBytes, 128<<20)
	orDefault(&c.Limits.GroupBytes, 32<<20)
	orDefault(&c.Limits.CommitTimeout, time.Minute)
	orDefault(&c.Limits.OfflineMerges, 8)
	orDefault(&c.Limits.Hits, 10_000)
	if c.Plan == nil {
		plan := DefaultPlan()
		c.Plan = &plan
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
