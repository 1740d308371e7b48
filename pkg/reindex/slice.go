package reindex

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// errAhead says that another run of the slice has committed since this one looked.
var errAhead = errors.New("another run of the slice is ahead")

// mark tells how far a slice has come. Each commit of its stage carries the next one, as the name of the only task that
// is applied there; a commit that does not find the mark that it began from is refused. So what is committed and how far
// that is cannot part, whoever is killed, and however many run.
type mark struct {
	Round int
	At    position
	Counts
}

const markFormat = "round=%d phase=%d part=%d doc=%d read=%d written=%d deleted=%d left_out=%d"

func (m mark) String() string {
	return fmt.Sprintf(markFormat, m.Round, m.At.Phase, m.At.Part, m.At.Doc, m.Read, m.Written, m.Deleted, m.LeftOut)
}

// markOf reads the mark of a stage; the zero mark if nothing was committed yet.
func markOf(stage shard.Manifest) (m mark, err error) {
	if len(stage.Applied) == 0 {
		return mark{}, nil
	}
	text := stage.Applied[0].Task
	_, err = fmt.Sscanf(text, markFormat, &m.Round, &m.At.Phase, &m.At.Part, &m.At.Doc, &m.Read, &m.Written, &m.Deleted, &m.LeftOut)
	if err != nil || len(stage.Applied) > 1 || m.String() != text {
		return mark{}, fmt.Errorf("manifest %d of %s: %w: it has no mark", stage.Generation, stage.Shard, shard.ErrCorrupt)
	}
	return m, nil
}

// slice is one run of a slice.
type slice struct {
	*desk
	*task.Run[SliceParams]

	worker   *worker
	progress *progress
	stage    *shard.Shard
	scratch  *shard.Scratch
	mapping  *shard.Mapping
	built    *library // what the stage has
	pace     *pace

	staged shard.Manifest // of the stage
	mark   mark           // of staged
	batch  batch

	kept, committed time.Time
}

// batch is what the next commit brings.
type batch struct {
	docs  []shard.Document
	gone  []string // IDs whose documents are to be deleted
	bytes int
	next  mark
}

func (w *worker) slice(ctx context.Context, x *task.Run[SliceParams]) error {
	d, err := openDesk(ctx, w.Store, x.Params.Reindex)
	if err != nil {
		return judge(fmt.Errorf("reindex %s: %w", x.Params.Reindex, err))
	}
	scratch, err := shard.NewScratch(w.Scratch)
	if err != nil {
		return err
	}
	s := &slice{desk: d, Run: x, worker: w, scratch: scratch, progress: &progress{x: x.Execution, verb: "copy"}}
	s.pace = &pace{rate: func() float64 { return d.plan.Rate / float64(d.plan.Slices) }}
	if x.Params.Round > 0 {
		s.progress.verb = "catch up"
	}
	err = errors.Join(s.run(ctx), scratch.Close())
	return judge(err)
}

func (s *slice) run(ctx context.Context) (err error) {
	if s.mapping, err = shard.ParseMapping(s.plan.Mapping); err != nil {
		return err
	}
	if s.stage, err = s.desk.stage(s.Params.Slice); err != nil {
		return err
	}
	s.built = newLibrary(s.target, s.worker.Cache, s.scratch)
	defer func() { err = errors.Join(err, s.built.close()) }()
	w, err := s.walker(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.files.close()) }()
	s.progress.total = (w.docs() + uint64(w.of) - 1) / uint64(w.of)
	ctx, stop := s.progress.run(ctx)
	defer stop()
	for {
		err = s.copy(ctx, w)
		if !errors.Is(err, errAhead) {
			break
		}
	}
	if err != nil {
		return err
	}
	return s.SetResult(SliceResult{Counts: s.mark.Counts, BytesMoved: s.progress.meter.Moved()})
}

// walker goes through what the round is about.
func (s *slice) walker(ctx context.Context) (*walker, error) {
	to, err := s.pin(ctx, s.Params.Round)
	if err != nil {
		return nil, err
	}
	var from shard.Manifest
	if s.Params.Round > 0 {
		if from, err = s.pin(ctx, s.Params.Round-1); err != nil {
			return nil, err
		}
	}
	w := s.worker.walker(s.desk, s.progress, between(from, to), to, s.scratch)
	w.slice, w.of = s.Params.Slice, s.plan.Slices
	return w, nil
}

// walker goes through a difference as its only slice.
func (w *worker) walker(d *desk, p *progress, diff difference, to shard.Manifest, scratch *shard.Scratch) *walker {
	return &walker{
		difference: diff, files: newLibrary(d.source, w.Cache, scratch), of: 1,
		mapping: to.Mapping, query: d.plan.Query, transform: d.plan.Transform,
		looked: func() { p.pulse.Add(1) },
	}
}

// copy goes on from the mark to the end of the round.
func (s *slice) copy(ctx context.Context, w *walker) error {
	if err := s.look(ctx); err != nil {
		return err
	}
	if s.mark.Round > s.Params.Round { // a later round has run
		return nil
	}
	if s.mark.Round < s.Params.Round {
		s.mark.Round, s.mark.At = s.Params.Round, position{}
	}
	s.batch, s.committed = batch{next: s.mark}, time.Now()
	s.progress.done.Store(0)
	if s.mark.Round == 0 {
		s.progress.done.Store(s.mark.Read)
	}
	if err := s.keepAll(ctx, w); err != nil {
		return err
	}
	err := w.walk(ctx, s.mark.At, func(i item) error {
		if err := s.worker.pause(ctx, s); err != nil {
			return err
		}
		s.take(i)
		if err := s.keepAll(ctx, w); err != nil { // a slow slice takes days for a batch
			return err
		}
		if s.batch.bytes < s.worker.BatchBytes && time.Since(s.committed) < s.worker.BatchEvery {
			return nil
		}
		return s.commit(ctx)
	})
	if err == nil && s.batch.next != s.mark {
		err = s.commit(ctx)
	}
	return err
}

// look reads how far the slice is, and makes its stage if it is the first to come.
func (s *slice) look(ctx context.Context) (err error) {
	_, err = s.stage.Create(ctx, shard.Settings{Mapping: s.plan.Mapping})
	if err != nil && !errors.Is(err, shard.ErrExists) {
		return err
	}
	if s.staged, err = s.stage.Newest(ctx); err != nil {
		return err
	}
	s.mark, err = markOf(s.staged)
	return err
}

// take puts a document into the batch.
func (s *slice) take(i item) {
	b := &s.batch
	b.next.At = i.behind
	b.next.Read++
	switch {
	case i.deleted:
		b.next.Deleted++
	case i.gone:
		b.next.LeftOut++
	default:
		b.next.Written++
		b.docs = append(b.docs, i.doc)
		b.bytes += len(i.doc.Source)
	}
	b.bytes += len(i.doc.ID) + itemOverheadBytes
	if s.Params.Round > 0 { // the first round finds every ID once, and nothing from before
		b.gone = append(b.gone, i.doc.ID)
	}
	s.progress.done.Add(1)
}

// itemOverheadBytes makes many tiny documents count.
const itemOverheadBytes = 64

// commit makes the batch part of the stage, together with its mark.
func (s *slice) commit(ctx context.Context) error {
	change := shard.Change{Writer: shard.Writer{
		Node: s.worker.Node, Task: s.batch.next.String(), AllocationID: s.AllocationID, At: time.Now().UTC(),
	}}
	if len(s.batch.docs) > 0 {
		seg, err := s.worker.build(ctx, s.desk, s.scratch, s.mapping, s.batch.docs)
		if err != nil {
			return err
		}
		change.Outputs = []shard.Segment{seg}
	}
	m, err := s.stage.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		if cur.Generation != s.staged.Generation {
			return cur, errAhead
		}
		found, err := s.built.locate(ctx, cur.Segments, s.batch.gone)
		if err != nil {
			return cur, err
		}
		change.Deleted = map[uint64]shard.DocSet{}
		for i, docs := range found {
			if !docs.IsZero() {
				change.Deleted[cur.Segments[i].ID] = docs
			}
		}
		next, err := shard.Commit(cur, change)
		if len(next.Applied) > 0 {
			next.Applied = next.Applied[len(next.Applied)-1:]
		}
		return next, err
	})
	if err != nil {
		return err
	}
	s.staged, s.mark, s.committed = m, s.batch.next, time.Now()
	s.batch = batch{next: s.mark}
	if len(m.Segments) > s.crowded() {
		return s.compact(ctx)
	}
	return nil
}

// keepAll keeps garbage collection from what the slice reads and from what it has built, once in a while.
func (s *slice) keepAll(ctx context.Context, w *walker) error {
	if time.Since(s.kept) < keepEvery {
		return nil
	}
	var reads []shard.Segment
	for _, p := range slices.Concat(w.fresh, w.stale) {
		reads = append(reads, p.segment)
	}
	s.kept = time.Now()
	return errors.Join(s.keep(ctx, s.source, reads), s.keep(ctx, s.target, s.staged.Segments))
}

// build makes a segment of the target, and uploads it.
func (w *worker) build(ctx context.Context, d *desk, scratch *shard.Scratch, m *shard.Mapping, docs []shard.Document) (shard.Segment, error) {
	path := scratch.Path("new-" + uuid.NewString())
	seg, err := shard.BuildSegment(ctx, path, m, docs)
	if err != nil {
		return seg, err
	}
	return w.upload(ctx, d, seg, path)
}

// upload reserves and sends a segment of the target, and removes its file.
func (w *worker) upload(ctx context.Context, d *desk, seg shard.Segment, path string) (shard.Segment, error) {
	blob, err := shard.NameBlob(path)
	if err != nil {
		return seg, err
	}
	seg.Blob = blob.Name
	if err := d.target.Reserve(ctx, blob.Name, d.id); err != nil {
		return seg, err
	}
	return seg, errors.Join(d.target.Upload(ctx, blob, path), removeFile(path))
}
