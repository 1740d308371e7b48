package remotegc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// parallel is how many manifests are read, and blobs are deleted, at a time.
const parallel = 8

// Collector deletes what nobody needs. It is safe for concurrent use, and so are several of them on one store.
type Collector struct {
	cfg      Config
	metrics  *metrics
	pins     *pinboard
	parallel int
}

// New checks the settings; the store is not asked.
func New(cfg Config) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return newCollector(cfg)
}

// newCollector takes times that are shorter than is safe, for tests.
func newCollector(cfg Config) (*Collector, error) {
	cfg = cfg.withDefaults()
	m, err := newMetrics(cfg.Meter)
	if err != nil {
		return nil, fmt.Errorf("remote gc: make instruments: %w", err)
	}
	return &Collector{cfg: cfg, metrics: m, pins: &pinboard{source: cfg.Pins}, parallel: parallel}, nil
}

// Item is an object that goes, or would go.
type Item struct {
	Reason Reason
	Key    string
	Bytes  int64
	Why    string // for people
}

// Options of a collection.
type Options struct {
	// DryRun deletes and writes nothing. It trusts the local clock, as asking the store's would be a write.
	DryRun bool

	// Found is called for each object that is marked or deleted, and before it is; nil: nobody wants to know. Calls do not
	// overlap.
	Found func(Item)

	// Step is called whenever something got done, so that its caller can tell a slow run from one that hangs; also from
	// several goroutines at once.
	Step func()
}

// Collect collects the garbage of one shard and returns what it found. An error says that nothing was deleted, or
// not all: the next collection goes on from there. It is no error when another collector was first.
func (c *Collector) Collect(ctx context.Context, name string, o Options) (Tally, error) {
	s, err := shard.Open(c.cfg.Store, name)
	if err != nil {
		return nil, err
	}
	r := &collection{Collector: c, Options: o, shard: s, shelf: shelf{c.cfg.Store, name}, tally: Tally{}}
	err = r.run(ctx)
	if errors.Is(err, errOvertaken) {
		return Tally{}, nil
	}
	if err != nil {
		err = fmt.Errorf("collect garbage of %s: %w", name, err)
	}
	if !o.DryRun {
		c.metrics.found(ctx, r.tally)
	}
	return r.tally, err
}

// collection is one collection of one shard.
type collection struct {
	*Collector
	Options

	shard *shard.Shard
	shelf shelf
	tally Tally

	now    time.Time // by the store's clock, and not after anything that is read
	before ledger    // of the last run
	since  map[shard.BlobName]time.Time
	stored []shard.StoredBlob

	newest shard.StoredGeneration
	kept   []shard.StoredGeneration
	old    []replaced
	marks  map[shard.BlobName]Reason

	garbage []shard.StoredBlob
	expired []shard.StoredBlob // reservations
}

// replaced is a generation and when the next one replaced it.
type replaced struct {
	shard.StoredGeneration
	at time.Time
}

func (r *collection) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{r.look, r.mark, r.judge, r.sweep} {
		if err := step(ctx); err != nil {
			return err
		}
		r.step()
	}
	return nil
}

// look reads the clock, the last run and what is stored. Blobs are listed before anything that may name them, so that
// one that is uploaded and committed now is not taken for garbage.
func (r *collection) look(ctx context.Context) (err error) {
	r.now = time.Now()
	if !r.DryRun {
		if r.now, err = r.shelf.clock(ctx); err != nil {
			return err
		}
	}
	if r.before, err = r.shelf.last(ctx); err != nil {
		return err
	}
	r.since = r.before.since()
	for b, err := range r.shard.Blobs(ctx) {
		if err != nil {
			return err
		}
		r.stored = append(r.stored, b)
	}
	return nil
}

// judge decides on each blob.
func (r *collection) judge(context.Context) error {
	for _, b := range r.stored {
		reason, needed := r.marks[b.Name]
		if needed {
			r.tally.add(reason, 1, b.Bytes)
			continue
		}
		since, known := r.since[b.Name]
		switch {
		case !known:
			r.found(Waiting, r.blobKey(b.Name), b.Bytes, "no generation, snapshot or reservation names it")
		case r.now.Sub(since) < r.cfg.Grace:
			r.found(Waiting, r.blobKey(b.Name), b.Bytes, "nobody needs it since "+moment(since))
		default:
			r.garbage = append(r.garbage, b)
		}
	}
	for _, g := range r.kept {
		r.tally.add(Generation, 1, g.Bytes)
	}
	return nil
}

// sweep writes down what is garbage now, and deletes what was so for long.
func (r *collection) sweep(ctx context.Context) error {
	next := r.ledger()
	idle := r.before.Run > 0 && r.before.says(next) && len(r.garbage)+len(r.old)+len(r.expired) == 0
	if !r.DryRun && !idle {
		if err := r.shelf.take(ctx, next); err != nil {
			return err
		}
	}
	if err := r.sweepGenerations(ctx); err != nil {
		return err
	}
	if err := r.sweepBlobs(ctx); err != nil {
		return err
	}
	for _, b := range r.expired {
		r.found(OldReservation, r.shelf.shard+"/pending/"+string(b.Name), b.Bytes, "made at "+moment(b.At))
		if err := r.delete(func() error { return r.shard.Unreserve(ctx, b.Name) }); err != nil {
			return err
		}
	}
	return nil
}

// ledger is what this run writes down. Garbage that is about to be deleted stays in it: should this run die, the next
// one knows.
func (r *collection) ledger() ledger {
	next := ledger{Run: r.before.Run + 1, Newest: r.newest.Generation, Candidates: []Candidate{}}
	for _, b := range r.stored {
		if _, needed := r.marks[b.Name]; !needed {
			next.Candidates = append(next.Candidates, Candidate{b.Name, b.Bytes, r.since[b.Name]})
		}
	}
	return next
}

// sweepGenerations deletes from the oldest on, one after the other: a writer that is frozen finds out that it was
// overtaken by the generation that it began with being gone.
func (r *collection) sweepGenerations(ctx context.Context) error {
	for _, g := range r.old {
		key := fmt.Sprintf("%s/manifest/%020d.json", r.shelf.shard, g.Generation)
		r.found(OldGeneration, key, g.Bytes, "replaced at "+moment(g.at))
		err := r.delete(func() error {
			return r.shard.DeleteGeneration(ctx, g.Generation, shard.Manifest{Generation: r.newest.Generation})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *collection) sweepBlobs(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.parallel)
	for _, b := range r.garbage {
		if ctx.Err() != nil {
			break
		}
		r.found(Garbage, r.blobKey(b.Name), b.Bytes, "nobody needs it since "+moment(r.since[b.Name]))
		group.Go(func() error { return r.delete(func() error { return r.shard.DeleteBlob(ctx, b.Name) }) })
	}
	return group.Wait()
}

func (r *collection) delete(what func() error) error {
	if r.DryRun {
		return nil
	}
	err := what()
	r.step()
	return err
}

func (r *collection) found(reason Reason, key string, bytes int64, why string) {
	r.tally.add(reason, 1, bytes)
	if r.Found != nil {
		r.Found(Item{reason, key, bytes, why})
	}
}

func (r *collection) step() {
	if r.Step != nil {
		r.Step()
	}
}

func (r *collection) blobKey(name shard.BlobName) string {
	return r.shelf.shard + "/blob/" + string(name)
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Sweep removes what belongs to no shard: uploads that no writer will finish any more, where the store has such, and what
// tasks have left in folders of their own.
func (c *Collector) Sweep(ctx context.Context, o Options) (Tally, error) {
	uploads, err := c.sweepUploads(ctx, o)
	if err != nil {
		return uploads, err
	}
	leftovers, err := c.sweepLeftovers(ctx, o)
	uploads.Add(leftovers)
	return uploads, err
}

func (c *Collector) sweepUploads(ctx context.Context, o Options) (Tally, error) {
	tally := Tally{}
	store, ok := c.cfg.Store.(remotestore.Sweeper)
	if !ok {
		return tally, nil
	}
	for u, err := range store.Unfinished(ctx) {
		if err != nil {
			return tally, err
		}
		if time.Since(u.Modified) < c.cfg.Grace {
			continue
		}
		tally.add(Unfinished, 1, u.Bytes)
		if o.Found != nil {
			o.Found(Item{Unfinished, u.Key, u.Bytes, "begun at " + moment(u.Modified)})
		}
	}
	if o.DryRun || len(tally) == 0 {
		return tally, nil
	}
	if _, err := store.Sweep(ctx, c.cfg.Grace); err != nil {
		return Tally{}, err
	}
	c.metrics.found(ctx, tally)
	return tally, nil
}

// sweepLeftovers removes the folders of tasks in which nothing was written for as long as a reservation is heeded: by then
// their blobs are nobody's, and the tasks could not go on.
func (c *Collector) sweepLeftovers(ctx context.Context, o Options) (Tally, error) {
	tally := Tally{}
	for _, root := range c.cfg.Leftovers {
		var folder string
		var objects []remotestore.Object
		end := func() error {
			found, err := c.sweepFolder(ctx, o, objects)
			tally.Add(found)
			objects = objects[:0]
			return err
		}
		for object, err := range c.cfg.Store.List(ctx, root, "") {
			if err != nil {
				return tally, fmt.Errorf("list %s: %w", root, err)
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(object.Key, root), "/")
			if name != folder {
				if err := end(); err != nil {
					return tally, err
				}
			}
			folder, objects = name, append(objects, object)
		}
		if err := end(); err != nil {
			return tally, err
		}
	}
	if !o.DryRun {
		c.metrics.found(ctx, tally)
	}
	return tally, nil
}

// sweepFolder removes a folder if all in it is old.
func (c *Collector) sweepFolder(ctx context.Context, o Options, objects []remotestore.Object) (Tally, error) {
	tally := Tally{}
	for _, object := range objects {
		if time.Since(object.Modified) < c.cfg.Reserved {
			return tally, nil
		}
	}
	for _, object := range objects {
		tally.add(Leftover, 1, object.Bytes)
		if o.Found != nil {
			o.Found(Item{Leftover, object.Key, object.Bytes, "written at " + moment(object.Modified)})
		}
		if o.DryRun {
			continue
		}
		if err := c.cfg.Store.Delete(ctx, object.Key); err != nil {
			return tally, fmt.Errorf("delete %s: %w", object.Key, err)
		}
	}
	return tally, nil
}

// LastRun is what the last run has left for the next one.
type LastRun struct {
	At         time.Time // zero: there was none
	Candidates []Candidate
}

// Last tells of the last run over a shard. Each candidate is dated.
func (c *Collector) Last(ctx context.Context, name string) (LastRun, error) {
	if err := shard.CheckName(name); err != nil {
		return LastRun{}, err
	}
	l, err := shelf{c.cfg.Store, name}.last(ctx)
	if err != nil && !errors.Is(err, errOvertaken) {
		return LastRun{}, err
	}
	since := l.since()
	for i, b := range l.Candidates {
		l.Candidates[i].Since = since[b.Blob]
	}
	return LastRun{l.at, l.Candidates}, nil
}
