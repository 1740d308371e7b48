package remotegc

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// bleve's analysis workers live as long as the process.
		goleak.IgnoreTopFunction("github.com/blevesearch/bleve_index_api.AnalysisWorker"))
}

// clocked is a store whose clock is the test's.
type clocked struct {
	*remotestore.Memory

	mu      sync.Mutex
	now     time.Time
	written map[string]time.Time
}

func newClocked() *clocked {
	return &clocked{Memory: remotestore.NewMemory(), now: time.Unix(1_800_000_000, 0).UTC(), written: map[string]time.Time{}}
}

func (c *clocked) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clocked) date(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written[key] = c.now
}

func (c *clocked) Put(ctx context.Context, key string, body []byte) error {
	c.date(key)
	return c.Memory.Put(ctx, key, body)
}

func (c *clocked) Create(ctx context.Context, key string, body []byte) error {
	err := c.Memory.Create(ctx, key, body)
	if err == nil {
		c.date(key)
	}
	return err
}

func (c *clocked) List(ctx context.Context, prefix, after string) iter.Seq2[remotestore.Object, error] {
	return func(yield func(remotestore.Object, error) bool) {
		c.mu.Lock()
		written := maps.Clone(c.written)
		c.mu.Unlock()
		for o, err := range c.Memory.List(ctx, prefix, after) {
			o.Modified = written[o.Key]
			if !yield(o, err) {
				return
			}
		}
	}
}

// hooked calls before ahead of each call of a store; what it returns is the call's error.
type hooked struct {
	remotestore.Store
	before func(verb, key string) error
}

func (h hooked) Get(ctx context.Context, key string, r remotestore.Range) ([]byte, error) {
	if err := h.before("get", key); err != nil {
		return nil, err
	}
	return h.Store.Get(ctx, key, r)
}

func (h hooked) Put(ctx context.Context, key string, body []byte) error {
	if err := h.before("put", key); err != nil {
		return err
	}
	return h.Store.Put(ctx, key, body)
}

func (h hooked) Create(ctx context.Context, key string, body []byte) error {
	if err := h.before("create", key); err != nil {
		return err
	}
	return h.Store.Create(ctx, key, body)
}

func (h hooked) List(ctx context.Context, prefix, after string) iter.Seq2[remotestore.Object, error] {
	return func(yield func(remotestore.Object, error) bool) {
		if err := h.before("list", prefix); err != nil {
			yield(remotestore.Object{}, err)
			return
		}
		for o, err := range h.Store.List(ctx, prefix, after) {
			if !yield(o, err) {
				return
			}
		}
	}
}

func (h hooked) Delete(ctx context.Context, key string) error {
	if err := h.before("delete", key); err != nil {
		return err
	}
	return h.Store.Delete(ctx, key)
}

const bookShard = "books/0"

// fixture is one shard, without files: its blobs hold a byte.
type fixture struct {
	t     require.TestingT
	ctx   context.Context //nolint:containedctx // of the test
	store *clocked
	shard *shard.Shard
	pins  map[string][]shard.BlobName // by snapshot
}

func newFixture(ctx context.Context, t require.TestingT) *fixture {
	f := &fixture{t: t, ctx: ctx, store: newClocked(), pins: map[string][]shard.BlobName{}}
	f.shard = f.open(f.store)
	_, err := f.shard.Create(ctx, shard.Settings{})
	require.NoError(t, err)
	return f
}

func (f *fixture) open(store remotestore.Store) *shard.Shard {
	s, err := shard.Open(store, bookShard)
	require.NoError(f.t, err)
	return s
}

// collector has the times of production.
func (f *fixture) collector(store remotestore.Store) *Collector {
	c, err := New(Config{Store: store, Pins: func(context.Context) iter.Seq2[Pin, error] {
		return func(yield func(Pin, error) bool) {
			for _, blobs := range f.pins {
				for _, b := range blobs {
					if !yield(Pin{bookShard, b}, nil) {
						return
					}
				}
			}
		}
	}})
	require.NoError(f.t, err)
	c.parallel = 1 // so that a seed tells what happens
	return c
}

func (f *fixture) collect() Tally {
	found, err := f.collector(f.store).Collect(f.ctx, bookShard, Options{})
	require.NoError(f.t, err)
	return found
}

// upload stores a blob and returns the segment that it would be.
func (f *fixture) upload() shard.Segment {
	name := shard.BlobName(strings.Repeat("0", 64) + "-" + uuid.NewString())
	require.NoError(f.t, f.store.Put(f.ctx, bookShard+"/blob/"+string(name), []byte("x")))
	return shard.Segment{Blob: name, Bytes: 1, Type: shard.SegmentType, Version: shard.SegmentVersion, Docs: 1, Live: 1}
}

func (f *fixture) reserve(b shard.BlobName) {
	require.NoError(f.t, f.shard.Reserve(f.ctx, b, "merge-1"))
}

func (f *fixture) commit(c shard.Change) (shard.Manifest, error) {
	return f.shard.Commit(f.ctx, func(cur shard.Manifest) (shard.Manifest, error) { return shard.Commit(cur, c) })
}

// write commits a new segment.
func (f *fixture) write() shard.Segment {
	seg := f.upload()
	_, err := f.commit(shard.Change{Outputs: []shard.Segment{seg}})
	require.NoError(f.t, err)
	return seg
}

// replace commits a merge of everything.
func (f *fixture) replace() shard.Segment {
	m := f.newest()
	out := f.upload()
	out.Docs, out.Live = m.Docs(), m.Docs()
	_, err := f.commit(shard.Change{Inputs: m.Segments, Outputs: []shard.Segment{out}})
	require.NoError(f.t, err)
	return out
}

func (f *fixture) newest() shard.Manifest {
	m, err := f.open(f.store).Newest(f.ctx)
	require.NoError(f.t, err)
	return m
}

// blobs are those that are stored.
func (f *fixture) blobs() map[shard.BlobName]bool {
	names := map[shard.BlobName]bool{}
	for b, err := range f.shard.Blobs(f.ctx) {
		require.NoError(f.t, err)
		names[b.Name] = true
	}
	return names
}

func (f *fixture) generations() (all []shard.StoredGeneration) {
	for g, err := range f.shard.Generations(f.ctx, 0) {
		require.NoError(f.t, err)
		all = append(all, g)
	}
	return all
}

func manifestKey(generation uint64) string {
	return fmt.Sprintf("%s/manifest/%020d.json", bookShard, generation)
}

// pass lets time go by that makes whatever waits due, and collects before and after.
func (f *fixture) pass() Tally {
	f.collect()
	f.store.advance(max(DefaultKeep, DefaultGrace, DefaultReserved))
	return f.collect()
}

var errKilled = errors.New("killed")

// puppet is a collector that waits before each call of the store.
type puppet struct {
	calls chan string
	reply chan error
	done  chan error

	call string // that it waits before
}

// puppet starts one.
func (f *fixture) puppet() *puppet {
	p := &puppet{calls: make(chan string), reply: make(chan error), done: make(chan error, 1)}
	c := f.collector(hooked{f.store, func(verb, key string) error {
		p.calls <- verb + " " + key
		return <-p.reply
	}})
	go func() {
		_, err := c.Collect(f.ctx, bookShard, Options{})
		close(p.calls)
		p.done <- err
	}()
	p.call = <-p.calls
	return p
}

// step lets a collector make a call, and tells whether it has ended.
func (f *fixture) step(p *puppet, answer error) (ended bool) {
	p.reply <- answer
	if call, more := <-p.calls; more {
		p.call = call
		return false
	}
	err := <-p.done
	if !errors.Is(err, errKilled) && !errors.Is(err, shard.ErrNotFound) { // another one deleted what it was to read
		require.NoError(f.t, err)
	}
	return true
}

// finish answers all calls of a collector until it has ended.
func (f *fixture) finish(p *puppet, answer error) {
	for ended := false; !ended; {
		ended = f.step(p, answer)
	}
}
