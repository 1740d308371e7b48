package remotegc

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// world is a shard whose writers, mergers, snapshots, restores and collectors take turns as chance wants. They keep to
// the rules of the package documentation and to no others: between two of their steps any time may pass that these
// allow, and between two of a collector any at all.
type world struct {
	*fixture

	uploads    []upload
	snapshots  []snapshotting
	restores   []restore
	collectors []*puppet
	unpinned   map[string]time.Time // when a snapshot was deleted
	names      int
}

// upload is a blob that is to be committed.
type upload struct {
	change   shard.Change
	at       time.Time
	reserved bool
}

// snapshotting has read a generation and not written its pins yet.
type snapshotting struct {
	generation uint64
	blobs      []shard.BlobName
	at         time.Time
}

type restore struct {
	of       string // snapshot
	segments []shard.Segment
}

func (w *world) kill(i int) {
	w.finish(w.collectors[i], errKilled)
	w.collectors = slices.Delete(w.collectors, i, i+1)
}

func (w *world) now() time.Time { return w.store.now }

// mayCommit tells whether the rules allow that an upload is committed now.
func (w *world) mayCommit(u upload) bool {
	if u.reserved {
		return w.now().Sub(u.at) < shard.ReservationLife/2
	}
	return w.now().Sub(u.at) < DefaultGrace
}

// mayRestore: the snapshot is there, or was until less than the grace ago.
func (w *world) mayRestore(r restore) bool {
	_, there := w.pins[r.of]
	return there || w.now().Sub(w.unpinned[r.of]) < DefaultGrace
}

// needed are the blobs that must be there.
func (w *world) needed() map[shard.BlobName]string {
	needed := map[shard.BlobName]string{}
	all := w.generations()
	for i, g := range all {
		if i < len(all)-1 && w.now().Sub(all[i+1].At) >= DefaultKeep {
			continue
		}
		m, err := w.shard.At(w.ctx, g.Generation)
		require.NoError(w.t, err)
		for _, s := range m.Segments {
			needed[s.Blob] = fmt.Sprint("generation ", g.Generation)
		}
	}
	for name, blobs := range w.pins {
		for _, b := range blobs {
			needed[b] = "snapshot " + name
		}
	}
	for _, u := range w.uploads {
		for _, out := range u.change.Outputs {
			if w.mayCommit(u) {
				needed[out.Blob] = "an upload"
			}
		}
	}
	return needed
}

func (w *world) check() {
	stored := w.blobs()
	for b, by := range w.needed() {
		require.True(w.t, stored[b], "blob %s is gone, but needed by %s", b, by)
	}
	left := w.generations()
	for i, g := range left {
		require.Equal(w.t, left[0].Generation+uint64(i), g.Generation, "generations go from the oldest on")
	}
	for g := uint64(1); g < left[0].Generation; g++ {
		replaced := w.store.written[manifestKey(g+1)]
		require.GreaterOrEqual(w.t, w.now().Sub(replaced), DefaultKeep, "generation %d is kept for too short", g)
	}
}

func TestNothingThatIsNeededGoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{fixture: newFixture(context.Background(), t), unpinned: map[string]time.Time{}}
		w.write()
		defer func() {
			for len(w.collectors) > 0 {
				w.kill(0)
			}
		}()
		t.Repeat(map[string]func(*rapid.T){
			"":              func(*rapid.T) { w.check() },
			"write":         func(*rapid.T) { w.write() },
			"merge":         func(*rapid.T) { w.replace() },
			"begin upload":  w.beginUpload,
			"commit upload": w.commitUpload,
			"read for snapshot": func(*rapid.T) {
				m := w.newest()
				s := snapshotting{generation: m.Generation, at: w.now()}
				for _, seg := range m.Segments {
					s.blobs = append(s.blobs, seg.Blob)
				}
				w.snapshots = append(w.snapshots, s)
			},
			"pin for snapshot": w.pin,
			"delete snapshot": func(t *rapid.T) {
				name := w.aSnapshot(t)
				delete(w.pins, name)
				w.unpinned[name] = w.now()
			},
			"begin restore":  w.beginRestore,
			"commit restore": w.commitRestore,
			"start collector": func(t *rapid.T) {
				if len(w.collectors) == 3 {
					t.Skip("enough of them")
				}
				w.collectors = append(w.collectors, w.puppet())
			},
			"let collectors go on": w.goOn,
			"finish a collector": func(t *rapid.T) {
				i := w.aCollector(t)
				w.finish(w.collectors[i], nil)
				w.collectors = slices.Delete(w.collectors, i, i+1)
			},
			"kill a collector": func(t *rapid.T) { w.kill(w.aCollector(t)) },
			"collect":          func(*rapid.T) { w.collect() },
			"let time pass": func(t *rapid.T) {
				w.store.advance(time.Duration(rapid.SampledFrom([]int{1, 5, 11, 25, 49, 169}).Draw(t, "hours")) * time.Hour)
			},
		})
		w.garbageGoes()
	})
}

func (w *world) beginUpload(t *rapid.T) {
	u := upload{at: w.now(), reserved: rapid.Bool().Draw(t, "reserved")}
	out := w.upload()
	if u.reserved {
		w.reserve(out.Blob)
	}
	if m := w.newest(); len(m.Segments) > 0 && rapid.Bool().Draw(t, "merge") {
		u.change.Inputs = m.Segments[:rapid.IntRange(1, len(m.Segments)).Draw(t, "inputs")]
		out.Docs, out.Live = shard.NewRemap(u.change.Inputs).Docs(), shard.NewRemap(u.change.Inputs).Docs()
	}
	u.change.Outputs = []shard.Segment{out}
	w.uploads = append(w.uploads, u)
}

func (w *world) commitUpload(t *rapid.T) {
	if len(w.uploads) == 0 {
		t.Skip("nothing is uploaded")
	}
	i := rapid.IntRange(0, len(w.uploads)-1).Draw(t, "which")
	u := w.uploads[i]
	w.uploads = slices.Delete(w.uploads, i, i+1)
	if !w.mayCommit(u) {
		return
	}
	if _, err := w.commit(u.change); err != nil {
		require.ErrorIs(w.t, err, shard.ErrNoEffect)
		return
	}
	if u.reserved && rapid.Bool().Draw(t, "unreserve") {
		require.NoError(w.t, w.shard.Unreserve(w.ctx, u.change.Outputs[0].Blob))
	}
}

// pin writes what a snapshot needs, if its generation is still there.
func (w *world) pin(t *rapid.T) {
	if len(w.snapshots) == 0 {
		t.Skip("no snapshot is being made")
	}
	s := w.snapshots[0]
	w.snapshots = w.snapshots[1:]
	if _, err := w.shard.At(w.ctx, s.generation); err != nil {
		require.ErrorIs(w.t, err, shard.ErrNotFound)
		return
	}
	w.names++
	w.pins[fmt.Sprintf("snapshot-%03d", w.names)] = s.blobs
}

func (w *world) aSnapshot(t *rapid.T) string {
	var names []string
	for name := range w.pins {
		names = append(names, name)
	}
	if len(names) == 0 {
		t.Skip("there is no snapshot")
	}
	slices.Sort(names)
	return rapid.SampledFrom(names).Draw(t, "snapshot")
}

func (w *world) beginRestore(t *rapid.T) {
	r := restore{of: w.aSnapshot(t)}
	for i, b := range w.pins[r.of] {
		r.segments = append(r.segments, shard.Segment{
			ID: uint64(i) + 1, Blob: b, Bytes: 1, Type: shard.SegmentType, Version: shard.SegmentVersion, Docs: 1, Live: 1,
		})
	}
	w.restores = append(w.restores, r)
}

func (w *world) commitRestore(t *rapid.T) {
	if len(w.restores) == 0 {
		t.Skip("nothing is being restored")
	}
	r := w.restores[0]
	w.restores = w.restores[1:]
	if !w.mayRestore(r) {
		return
	}
	_, err := w.shard.Commit(w.ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		next := cur.Clone()
		next.Segments = next.Segments[:0]
		for _, s := range r.segments {
			s.ID = next.NextSegment
			next.NextSegment++
			next.Segments = append(next.Segments, s)
		}
		return next, nil
	})
	require.NoError(w.t, err)
}

func (w *world) aCollector(t *rapid.T) int {
	if len(w.collectors) == 0 {
		t.Skip("no collector runs")
	}
	return rapid.IntRange(0, len(w.collectors)-1).Draw(t, "collector")
}

func (w *world) goOn(t *rapid.T) {
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		if len(w.collectors) == 0 {
			return
		}
		i := w.aCollector(t)
		if w.step(w.collectors[i], nil) {
			w.collectors = slices.Delete(w.collectors, i, i+1)
		}
	}
}

// garbageGoes ends whatever is under way: then only the newest generation and the snapshots are left.
func (w *world) garbageGoes() {
	for len(w.collectors) > 0 {
		w.kill(0)
	}
	w.uploads = nil
	w.pass()
	w.pass()
	w.pass()
	w.check()
	needed, stored := w.needed(), w.blobs()
	require.Len(w.t, stored, len(needed), "what nobody needs goes at last")
	require.Len(w.t, w.generations(), 1)
	for range w.shard.Reserved(w.ctx) {
		require.Fail(w.t, "a reservation is left")
	}
}
