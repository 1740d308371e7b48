package remotegc

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

func TestABlobGoesInASecondRunAfterTheGrace(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	orphan := f.upload()
	live := f.write()
	require.Equal(t, Tally{Generation: {2, 0}, Live: {1, 1}, Waiting: {1, 1}}, sizeless(f.collect()))
	f.store.advance(DefaultGrace - time.Second)
	require.Equal(t, Count{1, 1}, f.collect()[Waiting])
	f.store.advance(time.Second)
	found := f.collect()
	require.Equal(t, Count{1, 1}, found[Garbage])
	require.Equal(t, Count{1, 1}, found[Live])
	require.Equal(t, map[shard.BlobName]bool{live.Blob: true}, f.blobs())
	require.NotContains(t, f.blobs(), orphan.Blob)
	require.Equal(t, Tally{Generation: {1, 0}, Live: {1, 1}}, sizeless(f.collect()), "nothing is left to do")
}

// sizeless leaves out the sizes of manifests, which are not round.
func sizeless(t Tally) Tally {
	for r, c := range t {
		if r == Generation || r == OldGeneration {
			t[r] = Count{c.Objects, 0}
		}
	}
	return t
}

func TestAGenerationIsKeptForADayAfterItWasReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	f.store.advance(1000 * time.Hour)
	f.write() // generation 2 replaces 1, which is old
	f.collect()
	f.store.advance(DefaultKeep - time.Second)
	require.Zero(t, f.collect()[OldGeneration])
	f.store.advance(time.Second)
	require.Equal(t, 1, f.collect()[OldGeneration].Objects)
	require.EqualValues(t, 2, f.generations()[0].Generation)
	f.store.advance(1000 * time.Hour)
	require.Zero(t, f.collect()[OldGeneration], "the newest stays for ever")
}

func TestAGenerationThatNoRunHasSeenIsKept(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	first := f.write()
	f.replace()
	f.store.advance(1000 * time.Hour)
	require.Zero(t, f.collect()[OldGeneration])
	require.Contains(t, f.blobs(), first.Blob)
	require.Equal(t, 2, f.collect()[OldGeneration].Objects)
	require.Contains(t, f.blobs(), first.Blob)
	f.store.advance(DefaultGrace)
	require.Equal(t, 1, f.collect()[Garbage].Objects)
	require.NotContains(t, f.blobs(), first.Blob)
}

func TestAReservationIsHeededForItsLife(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	out := f.upload()
	f.reserve(out.Blob)
	for range 6 {
		require.Equal(t, Count{1, 1}, f.collect()[Reserved])
		f.store.advance(24 * time.Hour)
	}
	f.store.advance(24 * time.Hour)
	found := f.collect()
	require.Equal(t, 1, found[OldReservation].Objects)
	require.Equal(t, 1, found[Waiting].Objects)
	f.store.advance(DefaultGrace)
	require.Equal(t, 1, f.collect()[Garbage].Objects)
	require.Empty(t, f.blobs())
}

func TestWhatASnapshotNeedsStays(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	seg := f.write()
	f.pins["s"] = []shard.BlobName{seg.Blob}
	f.replace()
	f.pass()
	require.Equal(t, Count{1, 1}, f.pass()[Pinned])
	require.Contains(t, f.blobs(), seg.Blob)
	delete(f.pins, "s")
	f.pass()
	require.NotContains(t, f.blobs(), seg.Blob)
}

// TestWhatIsNotReadableStopsTheCollection fails each source of marks in turn.
func TestWhatIsNotReadableStopsTheCollection(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, fails := range map[string]func(verb, key string) bool{
		"blobs":        func(verb, key string) bool { return verb == "list" && strings.HasSuffix(key, "/blob/") },
		"reservations": func(verb, key string) bool { return verb == "list" && strings.HasSuffix(key, "/pending/") },
		"generations":  func(verb, key string) bool { return verb == "list" && strings.HasSuffix(key, "/manifest/") },
		"a manifest":   func(verb, key string) bool { return verb == "get" && strings.Contains(key, "/manifest/") },
		"the last run": func(verb, key string) bool { return verb == "get" && strings.Contains(key, "/gc/") },
		"the clock":    func(verb, key string) bool { return verb == "put" && strings.HasSuffix(key, "/gc/clock") },
	} {
		f := newFixture(t.Context(), t)
		f.upload()
		f.write()
		f.collect()
		f.store.advance(1000 * time.Hour)
		c := f.collector(hooked{f.store, func(verb, key string) error {
			require.NotEqual(t, "delete", verb, name)
			if fails(verb, key) {
				return broken
			}
			return nil
		}})
		_, err := c.Collect(t.Context(), bookShard, Options{})
		require.ErrorIs(t, err, broken, name)
	}
}

func TestADamagedManifestStopsTheCollection(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	f.upload()
	f.write()
	f.collect()
	f.store.advance(1000 * time.Hour)
	body, err := f.store.Get(t.Context(), manifestKey(2), remotestore.All)
	require.NoError(t, err)
	require.NoError(t, f.store.Put(t.Context(), manifestKey(2), body[:len(body)/2]))
	_, err = f.collector(f.store).Collect(t.Context(), bookShard, Options{})
	require.ErrorIs(t, err, shard.ErrCorrupt)
	require.Len(t, f.blobs(), 2)
	require.Len(t, f.generations(), 2)
}

func TestPinsThatCannotBeReadStopTheCollection(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	f.upload()
	f.collect()
	f.store.advance(1000 * time.Hour)
	c, err := New(Config{Store: f.store, Pins: func(context.Context) iter.Seq2[Pin, error] {
		return func(yield func(Pin, error) bool) { yield(Pin{}, shard.ErrCorrupt) }
	}})
	require.NoError(t, err)
	_, err = c.Collect(t.Context(), bookShard, Options{})
	require.ErrorIs(t, err, errPins)
	require.ErrorIs(t, err, shard.ErrCorrupt)
	require.Len(t, f.blobs(), 1)
}

func TestAShardWithoutGenerationsIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	f.upload()
	f.collect()
	f.store.advance(1000 * time.Hour)
	require.NoError(t, f.store.Delete(t.Context(), manifestKey(1)))
	_, err := f.collector(f.store).Collect(t.Context(), bookShard, Options{})
	require.ErrorIs(t, err, errNoGeneration)
	require.Len(t, f.blobs(), 1)
}

func TestADamagedLedgerBeginsTheGraceAnew(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	f.upload()
	f.collect()
	f.store.advance(1000 * time.Hour)
	key := shelf{f.store, bookShard}.key(1)
	require.NoError(t, f.store.Put(t.Context(), key, []byte(`{"format":1,"cand`)))
	require.Equal(t, 1, f.collect()[Waiting].Objects)
	f.store.advance(DefaultGrace)
	require.Equal(t, 1, f.collect()[Garbage].Objects)

	f.upload()
	f.collect()
	require.NoError(t, f.store.Put(t.Context(), shelf{f.store, bookShard}.key(9), []byte(`{"format":2}`)))
	_, err := f.collector(f.store).Collect(t.Context(), bookShard, Options{})
	require.ErrorContains(t, err, "upgrade")
}

// TestWhatCameBackBetweenTwoRunsIsSeen plays the one way for garbage to come back to life: a restore that began before
// its snapshot was deleted.
func TestWhatCameBackBetweenTwoRunsIsSeen(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	seg := f.garbage()
	f.comesBack(seg)
	f.store.advance(DefaultKeep)

	delete(f.pins, "second") // and somebody restores it, and may for the time of the grace
	require.Equal(t, 2, f.collect()[Live].Objects, "the generation that brought it back is still there")
	f.store.advance(DefaultGrace - time.Minute)
	f.collect()
	require.Contains(t, f.blobs(), seg.Blob)
	f.restore(seg)
	f.pass()
	f.pass()
	require.Contains(t, f.blobs(), seg.Blob)
}

// TestAFrozenCollectorDeletesNothing plays the same, with the first run of a collector that sleeps meanwhile.
func TestAFrozenCollectorDeletesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	seg := f.garbage()
	f.store.advance(DefaultGrace - time.Minute)
	f.comesBack(seg)
	f.store.advance(time.Minute)
	sleeper := f.puppet()
	for !strings.HasSuffix(sleeper.call, "/blob/") { // it has read what may be deleted
		require.False(t, f.step(sleeper, nil))
	}
	f.collect()
	f.store.advance(DefaultKeep)
	delete(f.pins, "second")
	found := f.collect()
	require.Positive(t, found[OldGeneration].Objects)
	require.Equal(t, 2, found[Waiting].Objects, "it is garbage since now, and so is what it had been merged into")
	f.finish(sleeper, nil)
	require.Contains(t, f.blobs(), seg.Blob)
	f.restore(seg)
	f.pass()
	f.pass()
	require.Contains(t, f.blobs(), seg.Blob)
}

// garbage returns a segment that a run has found to be garbage: it was merged away, and its snapshot is deleted.
func (f *fixture) garbage() shard.Segment {
	seg := f.write()
	f.pins["first"] = []shard.BlobName{seg.Blob}
	f.replace()
	f.pass()
	f.pass()
	delete(f.pins, "first")
	require.Equal(f.t, 1, f.collect()[Waiting].Objects)
	return seg
}

// comesBack restores a segment, takes a snapshot of that, and merges it away.
func (f *fixture) comesBack(seg shard.Segment) {
	f.restore(seg)
	f.pins["second"] = []shard.BlobName{seg.Blob}
	f.replace()
}

func (f *fixture) restore(seg shard.Segment) {
	_, err := f.shard.Commit(f.ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		next := cur.Clone()
		seg.ID = next.NextSegment
		next.NextSegment++
		next.Segments = []shard.Segment{seg}
		return next, nil
	})
	require.NoError(f.t, err)
}

func TestOfTwoCollectorsOneDeletes(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	f.upload()
	f.collect()
	f.store.advance(1000 * time.Hour)
	late := f.puppet()
	for !strings.HasPrefix(late.call, "create") {
		require.False(t, f.step(late, nil))
	}
	require.Equal(t, 1, f.collect()[Garbage].Objects)
	require.True(t, f.step(late, nil), "it finds that another one was first, and deletes nothing")
}

// TestACollectorMayDieAnywhere kills one before each of its calls.
func TestACollectorMayDieAnywhere(t *testing.T) {
	t.Parallel()
	for calls, ended := 0, false; !ended; calls++ {
		require.Less(t, calls, 100)
		f := newFixture(t.Context(), t)
		reserved := f.upload()
		f.reserve(reserved.Blob)
		f.upload()
		f.write()
		live := f.replace()
		f.pass()
		p := f.puppet()
		for range calls {
			if ended = f.step(p, nil); ended {
				break
			}
		}
		if !ended {
			f.finish(p, errKilled)
		}
		f.pass()
		f.pass()
		require.Equal(t, map[shard.BlobName]bool{live.Blob: true}, f.blobs(), "after %d calls", calls)
		require.Len(t, f.generations(), 1)
	}
}

func TestADryRunTellsAndWritesNothing(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	f := &fixture{t: t, ctx: t.Context(), store: &clocked{Memory: store, written: map[string]time.Time{}}}
	f.shard = f.open(store)
	_, err := f.shard.Create(t.Context(), shard.Settings{})
	require.NoError(t, err)
	orphan := f.upload()
	f.write()
	quick := Config{Store: store, Keep: 1, Grace: 1, Reserved: 1}
	c, err := newCollector(quick)
	require.NoError(t, err)
	_, err = c.Collect(t.Context(), bookShard, Options{})
	require.NoError(t, err)

	quick.Store = hooked{store, func(verb, key string) error {
		if verb != "get" && verb != "list" {
			return errors.New("a dry run must not " + verb + " " + key)
		}
		return nil
	}}
	dry, err := newCollector(quick)
	require.NoError(t, err)
	var would, did []Item
	promised, err := dry.Collect(t.Context(), bookShard, Options{DryRun: true, Found: func(i Item) { would = append(would, i) }})
	require.NoError(t, err)
	require.Len(t, would, 2)
	require.Equal(t, bookShard+"/blob/"+string(orphan.Blob), would[1].Key)
	require.Contains(t, would[1].Why, "nobody needs it since")
	kept, err := c.Collect(t.Context(), bookShard, Options{Found: func(i Item) { did = append(did, i) }})
	require.NoError(t, err)
	require.Equal(t, kept, promised)
	require.Equal(t, did, would)
	require.Equal(t, 2, kept.Of(Deleted).Objects, "a generation and a blob")
}

func TestCandidatesAreDated(t *testing.T) {
	t.Parallel()
	f := newFixture(t.Context(), t)
	orphan := f.upload()
	f.collect()
	found := f.store.now
	f.store.advance(time.Hour)
	second := f.upload()
	f.collect()
	last, err := f.collector(f.store).Last(t.Context(), bookShard)
	require.NoError(t, err)
	require.Equal(t, f.store.now, last.At)
	require.ElementsMatch(t, []Candidate{{orphan.Blob, 1, found}, {second.Blob, 1, f.store.now}}, last.Candidates)
}

func TestWhatTasksHaveLeftGoesWhenItIsOld(t *testing.T) {
	t.Parallel()
	store := newClocked()
	c, err := New(Config{Store: store, Leftovers: []string{"_work/"}})
	require.NoError(t, err)
	write := func(key string, age time.Duration) {
		store.now = time.Now().Add(-age)
		require.NoError(t, store.Put(t.Context(), key, []byte("x")))
	}
	const week = DefaultReserved
	for _, key := range []string{"_work/dead/a", "_work/dead/b/c", "_work/works/a", "_workshop/a", "_work/later/a"} {
		write(key, week+time.Hour)
	}
	write("_work/works/b", week-time.Hour)
	for _, dry := range []bool{true, false} {
		var found []string
		tally, err := c.Sweep(t.Context(), Options{DryRun: dry, Found: func(i Item) { found = append(found, i.Key) }})
		require.NoError(t, err)
		require.Equal(t, Tally{Leftover: {3, 3}}, tally)
		require.Equal(t, []string{"_work/dead/a", "_work/dead/b/c", "_work/later/a"}, found)
	}
	var left []string
	for o, err := range store.List(t.Context(), "", "") {
		require.NoError(t, err)
		left = append(left, o.Key)
	}
	require.Equal(t, []string{"_work/works/a", "_work/works/b", "_workshop/a"}, left)
}

func TestConfigRefusesWhatIsNotSafe(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Keep: time.Hour, Grace: time.Hour, Reserved: time.Hour})
	for _, says := range []string{"no store", "keep", "grace", "reserved"} {
		require.ErrorContains(t, err, says)
	}
}
