package datanode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Bulk carries out ops in their order and returns when they are in the store. Single documents that cannot be written
// are told in their items, and the rest goes on; an error is about all of them: see the package's promises.
// Bulks that are called at the same time are committed together.
func (sh *Shard) Bulk(ctx context.Context, ops []Op) (Written, error) {
	began := time.Now()
	written, err := sh.bulk(ctx, ops)
	sh.counts.bulks.Add(1)
	switch {
	case err == nil:
		sh.counts.writing.add(time.Since(began))
	case errors.Is(err, ErrBusy):
		sh.counts.busy.Add(1)
	default:
		sh.counts.writeErrors.Add(1)
	}
	sh.node.metrics.bulk(ctx, time.Since(began), err)
	if err != nil {
		return Written{}, fmt.Errorf("write to shard %s: %w", sh.name, err)
	}
	return written, nil
}

func (sh *Shard) bulk(ctx context.Context, ops []Op) (Written, error) {
	sh.mu.Lock()
	closed, refused := sh.closed, sh.successor != ""
	var why error
	if refused {
		why = sh.notWriter()
	}
	sh.mu.Unlock()
	switch {
	case closed:
		return Written{}, ErrClosed
	case refused:
		return Written{}, why
	case len(ops) == 0:
		return Written{}, fmt.Errorf("%w: a bulk without a single write", ErrInvalid)
	}
	if err := sh.line.counted(ops, func() error { return sh.room(ctx, ops) }); err != nil {
		return Written{}, err
	}
	return sh.line.write(ctx, ops, sh.commit)
}

// room waits while too many segments are to be merged. Deletes make no segments.
func (sh *Shard) room(ctx context.Context, ops []Op) error {
	adds := false
	for _, op := range ops {
		adds = adds || op.Kind != Delete
	}
	if !adds {
		return nil
	}
	limits := sh.node.cfg.Limits
	waiting, cancel := context.WithTimeoutCause(ctx, limits.SegmentsWait, errCrowded)
	defer cancel()
	segments := 0
	err := sh.await(waiting, func() bool {
		if sh.newest != nil {
			segments = len(sh.newest.manifest.Segments)
		}
		return segments < limits.Segments
	})
	if errors.Is(err, errCrowded) {
		return fmt.Errorf("%w: %d segments wait to be merged, at most %d may: write slower, or let more merges run",
			ErrBusy, segments, limits.Segments)
	}
	return err
}

var errCrowded = errors.New("too many segments")

// commit writes a group of bulks as one generation.
func (sh *Shard) commit(ctx context.Context, group []*bulk) {
	ctx, cancel := context.WithTimeoutCause(sh.metered(ctx), sh.node.cfg.Limits.CommitTimeout, errSlowStore)
	defer cancel()
	var ops []Op
	for _, b := range group {
		ops = append(ops, b.ops...)
	}
	items, generation, err := sh.commitOps(ctx, ops)
	for _, b := range group {
		if b.err = err; err != nil {
			continue
		}
		b.written = Written{generation, items[:len(b.ops):len(b.ops)]}
		items = items[len(b.ops):]
	}
}

var errSlowStore = errors.New("the store did not answer in time")

var (
	// errNothing ends a commit that would change nothing.
	errNothing = errors.New("nothing to write")

	// errMoved ends an attempt on a generation that is not the newest any more: the watch has opened the next one
	// meanwhile, and nobody could win with it.
	errMoved = errors.New("a newer generation is known")
)

// commitOps resolves ops on the newest generation and commits what follows from them. When others, mergers, commit
// first, it does so again on theirs; the segment that it has built is used again as long as its documents stay the same.
func (sh *Shard) commitOps(ctx context.Context, ops []Op) ([]Item, uint64, error) {
	d := draft{sh: sh, ops: ops}
	defer d.discard()
	rounds := int64(0)
	attempt := func(cur shard.Manifest) (shard.Manifest, error) {
		rounds++
		if err := sh.stillOurs(ctx, cur); err != nil {
			return cur, err
		}
		if waited, err := sh.yield(ctx); err != nil {
			return cur, err
		} else if waited {
			return cur, errMoved
		}
		if err := sh.advance(ctx, cur); err != nil {
			return cur, err
		}
		change, err := d.change(ctx, cur)
		if err != nil {
			return cur, err
		}
		return shard.Commit(cur, change)
	}
	m, err := sh.store.Commit(ctx, attempt)
	for errors.Is(err, errMoved) && ctx.Err() == nil {
		m, err = sh.store.Commit(ctx, attempt)
	}
	sh.counts.conflicts.Add(max(rounds-1, 0))
	if errors.Is(err, errNothing) {
		return d.effect.items, m.Generation, nil
	}
	if err != nil {
		poke(sh.look) // it may be in the store all the same
		return nil, 0, err
	}
	sh.counts.commits.Add(1)
	sh.count(d.effect)
	sh.mu.Lock()
	sh.checked = max(sh.checked, m.Generation)
	sh.mu.Unlock()
	if err := sh.advance(ctx, m); err != nil { // it is committed: what is shown here follows later
		sh.log.Warn("generation not opened after its commit: trying again", "error", err, "generation", m.Generation)
		poke(sh.look)
	}
	return d.effect.items, m.Generation, nil
}

func (sh *Shard) count(e *effect) {
	deletes := 0
	for _, i := range e.items {
		if i.Outcome == Deleted {
			deletes++
		}
	}
	sh.counts.documents.Add(int64(len(e.docs)))
	sh.counts.deletes.Add(int64(deletes))
}

// draft is a change that is being made of ops.
type draft struct {
	sh     *Shard
	ops    []Op
	bad    map[int]error // ops whose documents cannot be indexed
	effect *effect
	built  []shard.Document
	by     *shard.Mapping // that built it
	output *shard.Segment // of built; uploaded
	path   string
}

// change resolves the ops on cur, which must be the newest generation known, and uploads the segment of what is new.
func (d *draft) change(ctx context.Context, cur shard.Manifest) (shard.Change, error) {
	for {
		if err := d.resolve(cur); err != nil {
			return shard.Change{}, err
		}
		if d.findOverwritten() {
			continue
		}
		if d.effect.empty() {
			return shard.Change{}, errNothing
		}
		err := d.build(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, shard.ErrDocument) || !d.findBad() {
			return shard.Change{}, err
		}
	}
	change := shard.Change{Writer: d.sh.signed(), Deleted: d.effect.deleted}
	if d.output != nil {
		change.Outputs = []shard.Segment{*d.output}
	}
	return change, nil
}

func (d *draft) resolve(cur shard.Manifest) error {
	b, err := d.sh.acquire()
	if err != nil {
		return err
	}
	defer d.sh.release(b.uses)
	if b.manifest.Generation != cur.Generation {
		return fmt.Errorf("generation %d: %w: %d", cur.Generation, errMoved, b.manifest.Generation)
	}
	d.effect, err = resolve(b, d.ops, d.bad)
	return err
}

// findBad finds the documents that cannot be indexed; false if there is none. It is called when indexing has failed: to
// check every document before would cost a third of it.
func (d *draft) findBad() bool {
	found := false
	for i, doc := range d.effect.docs {
		found = d.check(d.effect.ops[i], doc) || found
	}
	return found
}

// findOverwritten does the same for documents that are not indexed because a later write of the group replaces them.
func (d *draft) findOverwritten() bool {
	found := false
	for op, doc := range d.effect.overwritten {
		found = d.check(op, doc) || found
	}
	return found
}

// check tells whether a document cannot be indexed, and notes why.
func (d *draft) check(op int, doc shard.Document) bool {
	err := d.sh.mappingNow().Check(doc)
	if err != nil {
		if d.bad == nil {
			d.bad = map[int]error{}
		}
		d.bad[op] = err
	}
	return err != nil
}

// build makes and uploads the segment, unless that of the same documents is there already. A reindex in place changes
// the mapping.
func (d *draft) build(ctx context.Context) error {
	mapping := d.sh.mappingNow()
	if sameDocs(d.built, d.effect.docs) && d.by == mapping {
		return nil
	}
	d.discard()
	if len(d.effect.docs) == 0 {
		return nil
	}
	d.path = filepath.Join(d.sh.node.scratch, uuid.NewString())
	seg, err := shard.BuildSegment(ctx, d.path, mapping, d.effect.docs)
	if err != nil {
		return err
	}
	blob, err := shard.NameBlob(d.path)
	if err != nil {
		return err
	}
	seg.Blob = blob.Name
	if err := d.sh.store.Upload(ctx, blob, d.path); err != nil {
		return err
	}
	if err := d.sh.node.cache.Adopt(seg, d.path); err != nil {
		return err
	}
	d.built, d.by, d.output, d.path = d.effect.docs, mapping, &seg, ""
	return nil
}

// discard removes what was left half built.
func (d *draft) discard() {
	if d.path != "" {
		if err := os.Remove(d.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			d.sh.log.Warn("half built segment not removed", "error", err)
		}
	}
	d.built, d.by, d.output, d.path = nil, nil, nil, ""
}

func sameDocs(a, b []shard.Document) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].ID != b[i].ID || string(a[i].Source) != string(b[i].Source) {
			return false
		}
	}
	return true
}
