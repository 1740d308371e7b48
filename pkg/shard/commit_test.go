package shard

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// worldOf has three segments of ten documents.
func worldOf(t *testing.T) *world {
	t.Helper()
	w := newWorld()
	for _, prefix := range []string{"a", "b", "c"} {
		var ids []string
		for i := range 10 {
			ids = append(ids, prefix+string(rune('0'+i)))
		}
		w.write(t, ids, nil)
	}
	return w
}

func TestCommitAnswers(t *testing.T) {
	t.Parallel()

	t.Run("a task is applied once", func(t *testing.T) {
		w := worldOf(t)
		w.begin(w.manifest.Segments[:2])
		c := w.merges[0]
		require.NoError(t, w.commit(c))
		require.ErrorIs(t, w.commit(c), ErrApplied)
		c.Writer.AllocationID++
		require.ErrorIs(t, w.commit(c), ErrApplied, "a later claim finds the work done")
		c.Writer.AllocationID = 1
		require.ErrorIs(t, w.commit(c), ErrStale)
		require.NotErrorIs(t, w.commit(c), ErrNoEffect)
	})

	t.Run("of two merges of one segment the second has no effect", func(t *testing.T) {
		w := worldOf(t)
		w.begin(w.manifest.Segments[:2])
		w.begin(w.manifest.Segments[1:])
		require.NoError(t, w.commit(w.merges[0]))
		require.ErrorIs(t, w.commit(w.merges[1]), ErrInputsGone)
		require.ErrorIs(t, w.commit(w.merges[1]), ErrNoEffect)
		w.check(t)
	})

	t.Run("a write that is tried again is applied once", func(t *testing.T) {
		w := worldOf(t)
		c := Change{Outputs: []Segment{w.segment([]version{{"x", 1}})}}
		require.NoError(t, w.commit(c))
		require.ErrorIs(t, w.commit(c), ErrApplied)
	})

	t.Run("a merge of which nothing is left leaves no segment", func(t *testing.T) {
		w := worldOf(t)
		w.begin(w.manifest.Segments[:1])
		w.write(t, nil, []string{"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"})
		require.NoError(t, w.commit(w.merges[0]))
		require.Len(t, w.manifest.Segments, 2)
		w.check(t)

		w.write(t, nil, []string{"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9"})
		require.Len(t, w.manifest.Segments, 2, "only a merge removes a segment: others may be at work on it")
		w.begin(w.manifest.Segments[:1])
		require.Empty(t, w.merges[1].Outputs)
		require.NoError(t, w.commit(w.merges[1]))
		require.Len(t, w.manifest.Segments, 1)
		w.check(t)
	})

	t.Run("what a restore brought back is not lost by a merge that left it out", func(t *testing.T) {
		w := worldOf(t)
		restored := w.manifest.Segments
		w.write(t, nil, []string{"a0"})
		w.begin(w.manifest.Segments[:2])
		w.manifest.Segments = restored
		require.ErrorIs(t, w.commit(w.merges[0]), ErrInputsGone)
	})

	t.Run("a segment is its blob, not only its ID", func(t *testing.T) {
		w := worldOf(t)
		w.begin(w.manifest.Segments[:2])
		restored := w.manifest.Clone()
		restored.Segments[1].Blob = w.segment(w.files[restored.Segments[1].Blob]).Blob
		w.manifest = restored
		require.ErrorIs(t, w.commit(w.merges[0]), ErrInputsGone)
	})

	t.Run("a merge that a restore has undone is applied again", func(t *testing.T) {
		w := worldOf(t)
		snapshot := w.manifest.Segments
		w.begin(snapshot[:2])
		c := w.merges[0]
		require.NoError(t, w.commit(c))
		restored := w.manifest.Clone()
		restored.Segments = snapshot
		w.manifest = restored
		c.Writer.AllocationID = 1
		require.ErrorIs(t, w.commit(c), ErrStale)
		c.Writer.AllocationID = 8
		require.NoError(t, w.commit(c))
		require.Len(t, w.manifest.Applied, 1)
		require.EqualValues(t, 8, w.manifest.Applied[0].AllocationID)
		w.check(t)
	})

	t.Run("segment IDs are never used again", func(t *testing.T) {
		w := worldOf(t)
		w.begin(w.manifest.Segments[2:])
		w.write(t, nil, []string{"c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"})
		require.NoError(t, w.commit(w.merges[0]))
		w.write(t, []string{"new"}, nil)
		require.EqualValues(t, 4, w.manifest.Segments[2].ID)
	})
}

func TestCommitRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(w *world, c *Change){
		"an output with other documents than its inputs": func(_ *world, c *Change) { c.Outputs[0].Docs++ },
		"two outputs of one merge":                       func(w *world, c *Change) { c.Outputs = append(c.Outputs, w.segment(nil)) },
		"no output for documents that are left":          func(_ *world, c *Change) { c.Outputs = nil },
		"an output with deletions":                       func(_ *world, c *Change) { c.Outputs[0].Deleted = NewDocSet(1) },
		"an input named twice":                           func(_ *world, c *Change) { c.Inputs = append(c.Inputs, c.Inputs[0]) },
		"an input of another size":                       func(_ *world, c *Change) { c.Inputs[0].Docs-- },
		"deletions in an input":                          func(_ *world, c *Change) { c.Deleted = map[uint64]DocSet{1: NewDocSet(0)} },
		"deletions in no segment":                        func(_ *world, c *Change) { c.Deleted = map[uint64]DocSet{99: NewDocSet(0)} },
		"deletions of no document":                       func(_ *world, c *Change) { c.Deleted = map[uint64]DocSet{3: NewDocSet(10)} },
	} {
		t.Run(name, func(t *testing.T) {
			w := worldOf(t)
			w.begin(w.manifest.Clone().Segments[:2])
			c := w.merges[0]
			spoil(w, &c)
			err := w.commit(c)
			require.Error(t, err)
			require.NotErrorIs(t, err, ErrNoEffect)
			w.check(t)
		})
	}
}

func TestAppliedTasksLiveByTheClockOfTheStore(t *testing.T) {
	t.Parallel()
	w := worldOf(t)
	w.manifest.AppliedFor = time.Hour
	task := func(id string, at time.Time) {
		c := Change{Writer: Writer{Task: id, At: at}, Outputs: []Segment{w.segment([]version{{id, 1}})}}
		require.NoError(t, w.commit(c))
	}
	var applied []string
	names := func() []string {
		applied = applied[:0]
		for _, a := range w.manifest.Applied {
			applied = append(applied, a.Task)
		}
		return applied
	}
	task("first", time.Now().Add(1000*time.Hour)) // its clock is far ahead
	task("second", time.Now().Add(-1000*time.Hour))
	require.Equal(t, []string{"first", "second"}, names())

	w.manifest.StoredAt = w.manifest.StoredAt.Add(time.Hour + time.Second/2)
	task("third", time.Time{}) // dates the second at the late hour: it is stored only now
	require.Equal(t, []string{"second", "third"}, names())
	w.manifest.StoredAt = w.manifest.StoredAt.Add(30 * time.Minute)
	task("fourth", time.Time{})
	require.Equal(t, []string{"second", "third", "fourth"}, names())
}
