package merge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	// maxRounds ends a force merge that does not come to an end beside other writers. They are counted over all runs.
	maxRounds = 100

	// maxRoundMerges bounds the children of one round, maxRoundInputs what the checkpoint names of them.
	maxRoundMerges = 500
	maxRoundInputs = 3000
)

// force is where a force merge stands: its checkpoint.
type force struct {
	// Before and Own say which segments it is about: those with lower IDs than Before, and its own outputs.
	Before uint64   `json:"before"`
	Own    []uint64 `json:"own,omitempty"`

	// Generation is the one that the round was planned on, Merges are the IDs of each merge's inputs there. Between
	// rounds there are none.
	Generation uint64     `json:"generation,omitempty"`
	Merges     [][]uint64 `json:"merges,omitempty"`
	Bytes      int64      `json:"bytes,omitempty"` // of the round's inputs
	Left       int64      `json:"left,omitempty"`  // of the inputs of this and all later rounds, as far as is known

	Expunged bool        `json:"expunged,omitempty"` // no round follows on this one
	Result   ForceResult `json:"result"`
}

// force runs a force merge up to where it must wait for its merges.
func (w *worker) force(ctx context.Context, x *task.Run[ForceParams]) error {
	s, err := shard.Open(w.Store, x.Params.Shard)
	if err != nil {
		return task.Permanent(err)
	}
	var f force
	x.Resume(&f)
	for {
		if len(f.Merges) > 0 {
			if err := f.await(ctx, x, s); err != nil {
				return err
			}
		}
		m, err := s.Newest(ctx)
		if errors.Is(err, shard.ErrNotFound) {
			return task.Permanent(err)
		}
		if err != nil {
			return err
		}
		if !f.plan(m, x.Params) {
			return x.SetResult(f.Result)
		}
		if f.Result.Rounds > maxRounds {
			return task.Permanent(fmt.Errorf("the shard still has too many segments after %d rounds: others write them faster than they are merged", maxRounds))
		}
		if err := x.Checkpoint(f); err != nil {
			return err
		}
	}
}

// plan plans the next round on a generation; false when nothing is left to do.
func (f *force) plan(m shard.Manifest, p ForceParams) bool {
	if f.Before == 0 && len(p.Segments) == 0 {
		f.Before = m.NextSegment
	}
	segments := f.scope(m, p)
	if f.Result.Rounds == 0 {
		f.Result.Shard, f.Result.SegmentsBefore = m.Shard, len(segments)
	}
	f.Result.Generation, f.Result.SegmentsAfter, f.Result.Docs = m.Generation, len(segments), 0
	for _, s := range segments {
		f.Result.Docs += s.Live
	}
	if f.Expunged {
		return false
	}
	merges := PlanForce(segments, p.MaxSegments, p.atOnce())
	f.Left = forecast(segments, p)
	if len(merges) == 0 && p.Expunge {
		merges = PlanExpunge(segments)
		f.Expunged = len(merges) <= maxRoundMerges
	}
	merges = bounded(merges)
	f.Own = slices.DeleteFunc(f.Own, func(id uint64) bool {
		return !slices.ContainsFunc(segments, func(s shard.Segment) bool { return s.ID == id })
	})
	f.Generation, f.Merges, f.Bytes = m.Generation, nil, 0
	for _, inputs := range merges {
		ids := make([]uint64, len(inputs))
		for i, in := range inputs {
			ids[i] = in.ID
			f.Bytes += in.Bytes
		}
		f.Merges = append(f.Merges, ids)
	}
	if len(merges) > 0 {
		f.Result.Rounds++
	}
	return len(merges) > 0
}

// bounded returns the merges that one round may have: the first of them.
func bounded(merges [][]shard.Segment) [][]shard.Segment {
	inputs := 0
	for i, m := range merges {
		if inputs += len(m); i == maxRoundMerges || inputs > maxRoundInputs {
			return merges[:i]
		}
	}
	return merges
}

// scope returns the segments that the force merge is about.
func (f *force) scope(m shard.Manifest, p ForceParams) (segments []shard.Segment) {
	for _, s := range m.Segments {
		if s.ID < f.Before || slices.Contains(f.Own, s.ID) || slices.Contains(p.Segments, s.ID) {
			segments = append(segments, s)
		}
	}
	return segments
}

// forecast is about how many bytes are to be merged until the force merge is done.
func forecast(segments []shard.Segment, p ForceParams) (bytes int64) {
	segments = slices.Clone(segments)
	for merges := PlanForce(segments, p.MaxSegments, p.atOnce()); len(merges) > 0; merges = PlanForce(segments, p.MaxSegments, p.atOnce()) {
		for _, inputs := range merges {
			merged := shard.Segment{ID: inputs[0].ID}
			for _, in := range inputs {
				bytes += in.Bytes
				merged.Bytes += liveBytes(in)
				merged.Docs += in.Live
			}
			merged.Live = merged.Docs
			segments = slices.DeleteFunc(segments, func(s shard.Segment) bool {
				return slices.ContainsFunc(inputs, func(in shard.Segment) bool { return in.ID == s.ID })
			})
			segments = append(segments, merged)
		}
	}
	if p.Expunge {
		for _, inputs := range PlanExpunge(segments) {
			bytes += inputs[0].Bytes
		}
	}
	return bytes
}

// await waits for the merges of the round, and notes what came of them.
func (f *force) await(ctx context.Context, x *task.Run[ForceParams], s *shard.Shard) error {
	children, err := f.children(ctx, x.Params.Shard, s)
	if errors.Is(err, shard.ErrNotFound) { // the round took longer than manifests are kept: plan on what is there now
		f.Merges = nil
		return nil
	}
	if err != nil {
		return err
	}
	states, err := x.Await(ctx, children...)
	f.report(x, states)
	if err != nil {
		return err
	}
	for _, state := range states {
		f.merged(state, x.Params)
	}
	f.Result.BytesIn += f.Bytes
	f.Merges = nil
	return nil
}

// children are the merges of the round. They are made of the generation that it was planned on, so they are the same
// however often, and by whomever, they are made.
func (f *force) children(ctx context.Context, name string, s *shard.Shard) ([]task.Child, error) {
	m, err := s.At(ctx, f.Generation)
	if err != nil {
		return nil, err
	}
	children := make([]task.Child, 0, len(f.Merges))
	for _, ids := range f.Merges {
		inputs := make([]shard.Segment, 0, len(ids))
		for _, id := range ids {
			in, ok := m.Segment(id)
			if !ok {
				return nil, task.Permanent(fmt.Errorf("generation %d of %s has no segment %d: the shard is not the one that was planned on", m.Generation, name, id))
			}
			inputs = append(inputs, in)
		}
		id, params := Plan(m, inputs)
		children = append(children, task.Child{Name: fmt.Sprintf("g%d-%s", m.Generation, id[len("merge-"):][:12]), Type: Type, Params: params})
	}
	return children, nil
}

// merged notes one merge that has ended well.
func (f *force) merged(state task.ChildState, p ForceParams) {
	f.Result.Merges++
	f.Result.BytesMoved += state.BytesMoved
	var r Result
	err := json.Unmarshal(state.Result, &r)
	switch {
	case err == nil && r.Segment != 0:
		f.Own = append(f.Own, r.Segment)
	case err == nil && r.NoEffect == "" && r.SegmentsOut == 0: // no document was left
	default:
		// Somebody else has merged the inputs, and into what is not known: so it is about all segments from now on, or
		// one that was asked for would be left out.
		f.Result.NoEffect++
		if len(p.Segments) == 0 {
			f.Before = 0
		}
	}
}

// report says how far all rounds are.
func (f *force) report(x *task.Run[ForceParams], states []task.ChildState) {
	if len(states) == 0 {
		return
	}
	fraction, ended := 0.0, 0
	for _, s := range states {
		switch {
		case s.Status.Terminal():
			fraction++
			ended++
		default:
			fraction += s.Fraction
		}
	}
	done := float64(f.Result.BytesIn) + fraction/float64(len(states))*float64(f.Bytes)
	x.Progress(done/float64(f.Result.BytesIn+max(f.Left, f.Bytes)), fmt.Sprintf("round %d: %d of %d merges have ended", f.Result.Rounds, ended, len(states)))
}
