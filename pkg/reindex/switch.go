package reindex

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	// MaxRounds bounds the rounds of slices; whatever is left then is the switch's.
	MaxRounds = 6

	// maxTurns bounds how often the switch in place tries to be ahead of the writers, before the task fails this attempt.
	maxTurns = 20

	// freeTurns is how often it tries before it asks them to wait.
	freeTurns = 3
)

// ErrConflict says that the target has a document of that ID which the reindex did not write.
var ErrConflict = errors.New("the target has this document already")

// errBehind says that the source was written to since it was caught up with.
var errBehind = errors.New("the source was written to meanwhile")

// parent is one run of a reindex.
type parent struct {
	*desk
	*task.Run[Params]

	worker   *worker
	progress *progress
	scratch  *shard.Scratch
	mapping  *shard.Mapping
	result   Result

	last   shard.Manifest  // the generation of the source that staged is on
	staged []shard.Segment // what the slices have built, and what was caught up with since
	built  *library        // of staged, and of the target's own segments
	pairs  map[[2]shard.BlobName][]pair
}

func (w *worker) reindex(ctx context.Context, x *task.Run[Params]) error {
	p := &parent{Run: x, worker: w, progress: &progress{x: x.Execution, verb: "switch"}, pairs: map[[2]shard.BlobName][]pair{}}
	p.result = Result{Source: x.Params.Source, Target: x.Params.Target}
	err := p.run(ctx)
	if errors.Is(err, shard.ErrNotFound) { // another run may have made the switch meanwhile, and tidied up
		if done, asked := p.applied(ctx); done && asked == nil {
			err = nil
		}
	}
	if err != nil {
		return judge(err)
	}
	p.result.BytesMoved += p.progress.meter.Moved()
	return x.SetResult(p.result)
}

func (p *parent) run(ctx context.Context) error {
	if done, err := p.applied(ctx); done || err != nil {
		return err
	}
	var err error
	if p.desk, err = begin(ctx, p.worker.Store, p.ID, p.Params); err != nil {
		return err
	}
	if p.mapping, err = shard.ParseMapping(p.plan.Mapping); err != nil {
		return task.Permanent(err)
	}
	if err := p.rounds(ctx); err != nil {
		return err
	}
	if p.scratch, err = shard.NewScratch(p.worker.Scratch); err != nil {
		return err
	}
	p.built = newLibrary(p.target, p.worker.Cache, p.scratch)
	ctx, stop := p.progress.run(ctx) // from here on: the rounds show how far the slices are
	defer stop()
	err = p.switchOver(ctx)
	err = errors.Join(err, p.built.close(), p.scratch.Close())
	if err == nil {
		p.tidy(ctx)
	}
	return err
}

// applied looks whether an earlier run has made the switch: then nothing is left but to tidy up.
func (p *parent) applied(ctx context.Context) (bool, error) {
	target, err := shard.Open(p.worker.Store, p.Params.Target)
	if err != nil {
		return false, task.Permanent(err)
	}
	m, err := target.Newest(ctx)
	if errors.Is(err, shard.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, known := m.AppliedAs(p.ID); !known {
		return false, nil
	}
	p.result.Generation, p.result.NoEffect = m.Generation, "already applied"
	if p.desk, err = openDesk(ctx, p.worker.Store, p.ID); err == nil {
		p.tidy(ctx)
	}
	return true, nil
}

// tidy is best effort: reservations that are left are collected by their age, and what a reindex keeps is small.
func (p *parent) tidy(ctx context.Context) {
	if err := p.clear(ctx); err != nil {
		p.Log.Warn("a reindex that is done has left something in the store", "error", err)
	}
}

// rounds has the slices copy one generation of the source, then what has changed since, until that is little.
func (p *parent) rounds(ctx context.Context) error {
	var done shard.Manifest
	for round := range MaxRounds {
		pinned, err := p.pin(ctx, round)
		if errors.Is(err, shard.ErrNotFound) {
			newest, err := p.newest(ctx, done)
			if err != nil {
				return err
			}
			if round > 0 && between(done, newest).docs() <= p.worker.Rest {
				break
			}
			if pinned, err = p.pinNow(ctx, round, newest); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		states, err := p.Await(ctx, p.slices(round)...)
		if err != nil {
			return err
		}
		if err := p.count(states); err != nil {
			return err
		}
		done = pinned
	}
	p.last = done
	return nil
}

// ChildName is the name of a slice's task under its reindex.
func ChildName(slice, round int) string { return fmt.Sprintf("slice-%d.%d", slice, round) }

func (p *parent) slices(round int) []task.Child {
	children := make([]task.Child, p.plan.Slices)
	for i := range children {
		children[i] = task.Child{
			Name: ChildName(i, round), Type: SliceType,
			Params: SliceParams{Reindex: p.ID, Slice: i, Round: round},
		}
	}
	return children
}

// count takes over what the slices have counted, in all rounds up to this one.
func (p *parent) count(states []task.ChildState) error {
	p.result.Counts = Counts{}
	for _, s := range states {
		var r SliceResult
		if err := decode(s.Result, &r); err != nil {
			return fmt.Errorf("result of %s: %w", s.ID, err)
		}
		p.result.Counts.add(r.Counts)
		p.result.BytesMoved += r.BytesMoved
	}
	return nil
}

// newest returns the newest generation of the source, which must not be older than one that was there.
func (p *parent) newest(ctx context.Context, than shard.Manifest) (shard.Manifest, error) {
	m, err := p.source.Newest(ctx)
	if err == nil && m.Generation < than.Generation {
		err = fmt.Errorf("the newest generation of %s is %d, but %d was copied: it is another store, or an older copy", m.Shard, m.Generation, than.Generation)
	}
	return m, err
}

// switchOver makes what was built visible, by one commit of the target.
func (p *parent) switchOver(ctx context.Context) error {
	if err := p.collect(ctx); err != nil {
		return err
	}
	for turn := range maxTurns {
		if turn >= freeTurns {
			if err := p.hold(ctx); err != nil {
				return err
			}
		}
		if err := p.catchUp(ctx); err != nil {
			return err
		}
		m, err := p.commit(ctx)
		switch {
		case errors.Is(err, errBehind):
			continue
		case errors.Is(err, shard.ErrNoEffect):
			p.result.NoEffect = "already applied"
			return nil
		case err != nil:
			return err
		}
		p.result.SourceGeneration, p.result.Generation = p.last.Generation, m.Generation
		return nil
	}
	return fmt.Errorf("shard %s is written to faster than it can be caught up with, %d times in a row", p.plan.Source, maxTurns)
}

// hold asks those who write the source to wait for the switch.
func (p *parent) hold(ctx context.Context) error {
	_, err := p.source.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		if _, known := cur.AppliedAs(p.ID); known { // another run has made it
			return cur, shard.ErrApplied
		}
		return shard.Hold(cur, p.writer()), nil
	})
	if errors.Is(err, shard.ErrApplied) {
		return nil
	}
	return err
}

func (p *parent) writer() shard.Writer {
	return shard.Writer{Node: p.worker.Node, Task: p.ID, AllocationID: p.AllocationID, At: time.Now().UTC()}
}

// collect lists what the slices have built.
func (p *parent) collect(ctx context.Context) error {
	for i := range p.plan.Slices {
		stage, err := p.stage(i)
		if err != nil {
			return err
		}
		m, err := stage.Newest(ctx)
		if err != nil {
			return err
		}
		p.staged = append(p.staged, m.Segments...)
	}
	return p.keep(ctx, p.target, p.staged)
}

// catchUp brings what was built to the newest generation of the source. It fetches what was built only when documents
// in it may have changed.
func (p *parent) catchUp(ctx context.Context) (err error) {
	newest, err := p.newest(ctx, p.last)
	if err != nil {
		return err
	}
	diff := between(p.last, newest)
	p.progress.total += diff.docs()
	w := p.worker.walker(p.desk, p.progress, diff, newest, p.scratch)
	defer func() { err = errors.Join(err, w.files.close()) }()
	var docs []shard.Document
	var gone []string
	bytes := 0
	flush := func() error {
		if err := p.apply(ctx, docs, gone); err != nil {
			return err
		}
		docs, gone, bytes = nil, nil, 0
		return nil
	}
	err = w.walk(ctx, position{}, func(i item) error {
		if err := p.worker.pace.take(ctx, func() { p.progress.pulse.Add(1) }); err != nil {
			return err
		}
		p.progress.done.Add(1)
		p.result.Read++
		gone = append(gone, i.doc.ID)
		switch {
		case i.deleted:
			p.result.Deleted++
		case i.gone:
			p.result.LeftOut++
		default:
			p.result.Written++
			docs = append(docs, i.doc)
		}
		if bytes += len(i.doc.Source) + len(i.doc.ID) + itemOverheadBytes; bytes < p.worker.BatchBytes {
			return nil
		}
		return flush()
	})
	if err == nil && len(gone) > 0 {
		err = flush()
	}
	if err == nil {
		p.last = newest
	}
	return err
}

// apply replaces documents in what was built; those of gone without a successor are deleted.
func (p *parent) apply(ctx context.Context, docs []shard.Document, gone []string) error {
	found, err := p.built.locate(ctx, p.staged, gone)
	if err != nil {
		return err
	}
	for i, docs := range found {
		p.staged[i] = without(p.staged[i], docs)
	}
	if len(docs) == 0 {
		return nil
	}
	seg, err := p.worker.build(ctx, p.desk, p.scratch, p.mapping, docs)
	if err != nil {
		return err
	}
	p.staged = append(p.staged, seg)
	return nil
}

// without returns a segment with more documents deleted.
func without(s shard.Segment, docs shard.DocSet) shard.Segment {
	s.Deleted = s.Deleted.Union(docs)
	s.Live = s.Docs - s.Deleted.Count()
	return s
}

// commit makes the switch; errBehind says that the source, which is the target, is ahead again.
func (p *parent) commit(ctx context.Context) (shard.Manifest, error) {
	return p.target.CreateOrCommit(ctx, shard.Settings{Mapping: p.plan.Mapping}, func(cur shard.Manifest) (shard.Manifest, error) {
		change := shard.Change{Writer: p.writer(), Outputs: p.staged}
		if p.plan.inPlace() {
			if cur.Generation != p.last.Generation {
				return p.behind(cur)
			}
			if err := p.keepsMapping(cur); err != nil {
				return cur, err
			}
			return p.replace(cur)
		}
		if err := p.checkMapping(p.plan.Mapping, cur); err != nil {
			return cur, err
		}
		var err error
		if change.Outputs, change.Deleted, err = p.settle(ctx, cur); err != nil {
			return cur, err
		}
		return p.checked(shard.Commit(cur, change))
	})
}

// keepsMapping refuses a switch in place that was to leave the mapping as it is, and would put back an older one.
func (p *parent) keepsMapping(cur shard.Manifest) error {
	if len(p.Params.Mapping) > 0 {
		return nil
	}
	same, err := sameJSON(p.plan.Mapping, cur.Mapping)
	if err == nil && !same {
		err = fmt.Errorf("shard %s got another mapping meanwhile: start anew, under another task ID", cur.Shard)
	}
	return task.Permanent(err)
}

// behind refuses a switch in place on a generation that was not caught up with, unless the switch is in it.
func (p *parent) behind(cur shard.Manifest) (shard.Manifest, error) {
	if _, known := cur.AppliedAs(p.ID); known {
		return cur, shard.ErrApplied
	}
	return cur, errBehind
}

// replace puts what was built in the place of everything that is there.
func (p *parent) replace(cur shard.Manifest) (shard.Manifest, error) {
	alive := slices.DeleteFunc(slices.Clone(p.staged), func(s shard.Segment) bool { return s.Live == 0 })
	return p.checked(shard.Replace(cur, shard.Replacement{Writer: p.writer(), Segments: alive, Mapping: p.plan.Mapping}))
}

// checked notes what a switch would show.
func (p *parent) checked(next shard.Manifest, err error) (shard.Manifest, error) {
	p.result.Docs, p.result.Segments, p.result.Bytes = 0, 0, 0
	for _, s := range next.Segments {
		for _, ours := range p.staged {
			if s.Blob == ours.Blob {
				p.result.Docs += s.Live
				p.result.Segments++
				p.result.Bytes += s.Bytes
			}
		}
	}
	return next, err
}

// pair is a document that both the target and what was built have.
type pair struct{ theirs, ours uint32 }

// settle deals with documents that the target has already.
func (p *parent) settle(ctx context.Context, cur shard.Manifest) (outputs []shard.Segment, deleted map[uint64]shard.DocSet, err error) {
	outputs, deleted = append(outputs, p.staged...), map[uint64]shard.DocSet{}
	p.result.Conflicts = 0
	for _, their := range cur.Segments {
		for i, our := range p.staged {
			both, err := p.both(ctx, their, our)
			if err != nil {
				return nil, nil, err
			}
			var theirs, ours []uint32
			for _, b := range both {
				if their.Deleted.Contains(b.theirs) || our.Deleted.Contains(b.ours) {
					continue
				}
				if p.plan.Conflicts == Abort {
					return nil, nil, p.conflict(ctx, our, b.ours)
				}
				theirs, ours = append(theirs, b.theirs), append(ours, b.ours)
			}
			p.result.Conflicts += uint64(len(ours))
			switch {
			case len(ours) == 0:
			case p.plan.Conflicts == Overwrite:
				deleted[their.ID] = deleted[their.ID].Union(shard.NewDocSet(theirs...))
			default:
				outputs[i] = without(outputs[i], shard.NewDocSet(ours...))
			}
		}
	}
	return outputs, deleted, nil
}

func (p *parent) conflict(ctx context.Context, seg shard.Segment, doc uint32) error {
	r, _, err := p.built.open(ctx, seg)
	if err != nil {
		return err
	}
	id, err := r.ID(doc)
	if err != nil {
		return err
	}
	return task.Permanent(fmt.Errorf("document %q of shard %s: %w; nothing was changed (conflicts may be: proceed, overwrite)", id, p.plan.Target, ErrConflict))
}

// both finds the IDs that two segments have, deleted documents included: segments never change, so it is found once.
func (p *parent) both(ctx context.Context, their, our shard.Segment) ([]pair, error) {
	key := [2]shard.BlobName{their.Blob, our.Blob}
	if found, ok := p.pairs[key]; ok {
		return found, nil
	}
	theirs, _, err := p.built.open(ctx, their)
	if err != nil {
		return nil, err
	}
	ours, _, err := p.built.open(ctx, our)
	if err != nil {
		return nil, err
	}
	var found []pair
	if their.Docs < our.Docs {
		err = common(ctx, theirs, ours, func(a, b uint32) { found = append(found, pair{a, b}) })
	} else {
		err = common(ctx, ours, theirs, func(a, b uint32) { found = append(found, pair{b, a}) })
	}
	if err == nil {
		p.pairs[key] = found
	}
	return found, err
}

// common calls do with the numbers of the documents that two segments have in common. few is the smaller one.
func common(ctx context.Context, few, many *shard.Reader, do func(few, many uint32)) error {
	const step = 1000
	docs := uint32(few.Segment().Docs)
	for start := uint32(0); start < docs; start += step {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		numbers := make(map[string]uint32, step)
		ids := make([]string, 0, step)
		for doc := start; doc < min(start+step, docs); doc++ {
			id, err := few.ID(doc)
			if err != nil {
				return err
			}
			numbers[id], ids = doc, append(ids, id)
		}
		found, err := many.Find(ids)
		if err != nil {
			return err
		}
		for doc := range found.All() {
			id, err := many.ID(doc)
			if err != nil {
				return err
			}
			do(numbers[id], doc)
		}
	}
	return nil
}
