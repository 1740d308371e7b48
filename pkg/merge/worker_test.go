package merge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestMergeReplacesItsInputs(t *testing.T) {
	t.Parallel()
	f := filled(t)
	n := newNode(t, Config{Store: f.store})
	before, want := f.newest(t), f.contents(t)
	x := execution(t, before, before.Segments, 5, nil)
	require.NoError(t, n.definition.Do(t.Context(), x))

	after := f.newest(t)
	require.Equal(t, want, f.contents(t))
	require.Len(t, after.Segments, 1)
	require.EqualValues(t, 197, after.Segments[0].Docs, "deleted documents are left out")
	require.Equal(t, shard.Applied{Task: x.ID, AllocationID: 5}, after.Applied[0])
	require.Equal(t, "node-1", after.Writer.Node)

	moved := before.Bytes() + after.Bytes()
	r := resultOf(t, x)
	require.Equal(t, Result{
		Shard: "books/0", Generation: after.Generation, SegmentsIn: 4, SegmentsOut: 1, Segment: 5, BytesIn: before.Bytes(), BytesOut: after.Bytes(),
		Docs: 197, BytesMoved: r.BytesMoved,
	}, r)
	require.Greater(t, r.BytesMoved, moved)
	require.Less(t, r.BytesMoved, moved+20_000, "manifests and a reservation")
	report := x.Report()
	require.Equal(t, r.BytesMoved, report.BytesMoved)
	require.Equal(t, 1, report.Checkpointed)
	require.GreaterOrEqual(t, report.Fraction, committing.start)
	n.cleanScratch(t)
	for b := range f.shard.Reserved(t.Context()) {
		t.Errorf("%s is still reserved", b.Name)
	}
}

func TestMergeOnS3(t *testing.T) {
	t.Parallel()
	b := testkit.S3(t)
	store, err := remotestore.Open(t.Context(), remotestore.Config{
		URL:       "s3://" + b.Name + "/shards?region=" + b.Region + "&endpoint=" + b.Endpoint,
		AccessKey: b.AccessKey, SecretKey: remotestore.Secret(b.SecretKey),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.(io.Closer).Close()) })
	f := newFixture(t, store)
	f.fill(t)
	n := newNode(t, Config{Store: store})
	before, want := f.newest(t), f.contents(t)
	require.NoError(t, n.definition.Do(t.Context(), execution(t, before, before.Segments, 1, nil)))
	require.Len(t, f.newest(t).Segments, 1)
	require.Equal(t, want, f.contents(t))
}

func TestMergeWithACacheDownloadsNothingTwice(t *testing.T) {
	t.Parallel()
	f := filled(t)
	before := f.newest(t)
	want := f.contents(t) // all inputs are in the cache now
	n := newNode(t, Config{Cache: f.cache, Store: hooked{f.store, func(verb, key string) error {
		if verb == "get file" {
			return fmt.Errorf("download of %s", key)
		}
		return nil
	}}})
	require.NoError(t, n.definition.Do(t.Context(), execution(t, before, before.Segments, 1, nil)))
	require.NoError(t, f.store.Delete(t.Context(), "books/0/blob/"+string(f.newest(t).Segments[0].Blob)))
	require.Equal(t, want, f.contents(t), "the cache has the merged segment, too")
	n.cleanScratch(t)
}

func TestAThrottleSeesEveryByteThatIsWritten(t *testing.T) {
	t.Parallel()
	f := filled(t)
	before, written, calls := f.newest(t), int64(0), 0
	n := newNode(t, Config{Store: f.store, Throttle: func(_ context.Context, bytes int64) {
		written += bytes
		calls++
	}})
	require.NoError(t, n.definition.Do(t.Context(), execution(t, before, before.Segments, 1, nil)))
	require.InEpsilon(t, f.newest(t).Bytes(), written, 0.05)
	require.Greater(t, calls, 1, "it can hold a merge back before its end")

	n = newNode(t, Config{Store: f.store, Throttle: func(ctx context.Context, _ int64) { <-ctx.Done() }})
	f.write(t, 300, 310)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	m := f.newest(t)
	require.ErrorIs(t, n.definition.Do(ctx, execution(t, m, m.Segments, 1, nil)), context.Canceled)
}

func TestWhatIsDeletedDuringAMergeStaysDeleted(t *testing.T) {
	t.Parallel()
	f := filled(t)
	var once sync.Once
	n := newNode(t, Config{Store: hooked{f.store, func(verb, _ string) (err error) {
		if verb == "put file" { // the merge is over, its commit is not
			once.Do(func() {
				_, err = f.tryWrite(context.Background(), 10, 15, "doc-10", "doc-11", "doc-12", "doc-13", "doc-14", "doc-60")
			})
		}
		return err
	}}})
	before := f.newest(t)
	require.NoError(t, n.definition.Do(t.Context(), execution(t, before, before.Segments, 1, nil)))
	got := f.contents(t)
	require.Len(t, got, 196)
	require.NotContains(t, got, "doc-60")
	require.Contains(t, got, "doc-10")
	require.Len(t, f.newest(t).Segments, 2)
}

func TestMergeOfNothingLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, remotestore.NewMemory())
	f.write(t, 0, 2)
	m := f.write(t, 0, 0, "doc-0", "doc-1")
	n := newNode(t, Config{Store: f.store})
	x := execution(t, m, m.Segments, 1, nil)
	require.NoError(t, n.definition.Do(t.Context(), x))
	require.Empty(t, f.newest(t).Segments)
	require.Zero(t, resultOf(t, x).SegmentsOut)
	require.Equal(t, 1, resultOf(t, x).SegmentsIn)
}

func TestMergeWithoutEffectSucceeds(t *testing.T) {
	t.Parallel()
	f := filled(t)
	n := newNode(t, Config{Store: f.store})
	before := f.newest(t)
	require.NoError(t, n.definition.Do(t.Context(), execution(t, before, before.Segments, 5, nil)))
	after := f.newest(t)

	for name, c := range map[string]struct {
		x    *task.Execution
		says string
	}{
		"the same task again":         {execution(t, before, before.Segments, 6, nil), "already applied"},
		"another task, same inputs":   {execution(t, before, before.Segments, 6, nil, "other"), "inputs are gone"},
		"another task, some of these": {execution(t, before, before.Segments[1:], 6, nil), "inputs are gone"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, n.definition.Do(t.Context(), c.x))
			require.Equal(t, c.says, resultOf(t, c.x).NoEffect)
			require.Zero(t, resultOf(t, c.x).SegmentsOut)
			require.Less(t, resultOf(t, c.x).BytesMoved, before.Bytes(), "no segment is moved for nothing")
			require.Equal(t, after.Generation, f.newest(t).Generation)
			n.cleanScratch(t)
		})
	}
}

func TestZombieIsRefused(t *testing.T) {
	t.Parallel()
	f := filled(t)
	before, want := f.newest(t), f.contents(t)
	healthy := newNode(t, Config{Store: f.store})
	var once sync.Once
	zombie := newNode(t, Config{Store: hooked{f.store, func(verb, _ string) (err error) {
		if verb == "put file" { // it is frozen here, while a newer claim does the work
			once.Do(func() {
				err = healthy.definition.Do(context.Background(), execution(t, before, before.Segments, 9, nil))
			})
		}
		return err
	}}})
	err := zombie.definition.Do(t.Context(), execution(t, before, before.Segments, 5, nil))
	require.ErrorIs(t, err, shard.ErrStale)
	require.Equal(t, want, f.contents(t))
	require.EqualValues(t, 9, f.newest(t).Applied[0].AllocationID)
	zombie.cleanScratch(t)
}

func TestMergeThatIsStoppedLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"get file", "put file", "create"} {
		t.Run(at, func(t *testing.T) {
			f := filled(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			n := newNode(t, Config{Store: hooked{f.store, func(verb, _ string) error {
				if verb == at {
					cancel(task.ErrDraining)
				}
				return nil
			}}})
			before := f.newest(t)
			err := n.definition.Do(ctx, execution(t, before, before.Segments, 1, nil))
			require.Error(t, err)
			require.Equal(t, before.Generation, f.newest(t).Generation)
			n.cleanScratch(t)
		})
	}
}

func TestOnlyTheCommitIsLeftAfterTheCheckpoint(t *testing.T) {
	t.Parallel()
	f := filled(t)
	before, want := f.newest(t), f.contents(t)
	refused := errors.New("access denied")
	n := newNode(t, Config{Store: hooked{f.store, func(verb, _ string) error {
		if verb == "create" {
			return refused
		}
		return nil
	}}})
	x := execution(t, before, before.Segments, 1, nil)
	require.ErrorIs(t, n.definition.Do(t.Context(), x), refused)
	left := x.Report().Checkpoint
	require.NotEmpty(t, left)
	require.Less(t, len(left), 1000)
	require.Equal(t, want, f.contents(t))
	f.write(t, 0, 0, "doc-5") // the drops of the checkpoint are older
	delete(want, "doc-5")

	var verbs []string
	n = newNode(t, Config{Store: hooked{f.store, func(verb, key string) error {
		if strings.Contains(key, "/blob/") {
			verbs = append(verbs, verb)
		}
		return nil
	}}})
	x = execution(t, before, before.Segments, 2, left)
	require.NoError(t, n.definition.Do(t.Context(), x))
	require.Equal(t, []string{"list"}, verbs, "it only looks whether the blob is there")
	require.Equal(t, want, f.contents(t))
	require.Len(t, f.newest(t).Segments, 1)
	require.Equal(t, 1, resultOf(t, x).SegmentsOut)
	require.Equal(t, before.Bytes(), resultOf(t, x).BytesIn)

	again := execution(t, before, before.Segments, 3, left)
	require.NoError(t, n.definition.Do(t.Context(), again))
	require.Equal(t, "already applied", resultOf(t, again).NoEffect)
	require.Equal(t, want, f.contents(t))
}

func TestCheckpointThatIsOfNoUseStartsOver(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, f *fixture, left []byte) []byte{
		"it cannot be read": func(*testing.T, *fixture, []byte) []byte { return []byte(`{"generation":"x"}`) },
		"its blob is gone": func(t *testing.T, f *fixture, left []byte) []byte {
			t.Helper()
			for b := range f.shard.Reserved(t.Context()) {
				require.NoError(t, f.shard.DeleteBlob(t.Context(), b.Name))
			}
			return left
		},
		"its generation is collected": func(t *testing.T, f *fixture, left []byte) []byte {
			t.Helper()
			old := f.newest(t)
			newest := f.write(t, 0, 0, "doc-5")
			require.NoError(t, f.shard.DeleteGeneration(t.Context(), old.Generation, newest))
			return left
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := filled(t)
			before := f.newest(t)
			n := newNode(t, Config{Store: hooked{f.store, func(verb, _ string) error {
				if verb == "create" {
					return errors.New("access denied")
				}
				return nil
			}}})
			x := execution(t, before, before.Segments, 1, nil)
			require.Error(t, n.definition.Do(t.Context(), x))
			left := spoil(t, f, x.Report().Checkpoint)
			want := f.contents(t)

			n = newNode(t, Config{Store: f.store})
			x = execution(t, before, before.Segments, 2, left)
			require.NoError(t, n.definition.Do(t.Context(), x))
			require.Empty(t, resultOf(t, x).NoEffect)
			require.Greater(t, resultOf(t, x).BytesMoved, before.Bytes())
			require.Equal(t, want, f.contents(t))
		})
	}
}

func TestBlobThatIsMissing(t *testing.T) {
	t.Parallel()

	t.Run("is an error that names it while the shard needs it", func(t *testing.T) {
		f := filled(t)
		m := f.newest(t)
		require.NoError(t, f.shard.DeleteBlob(t.Context(), m.Segments[2].Blob))
		n := newNode(t, Config{Store: f.store})
		err := n.definition.Do(t.Context(), execution(t, m, m.Segments, 1, nil))
		require.ErrorIs(t, err, shard.ErrNotFound)
		require.ErrorContains(t, err, string(m.Segments[2].Blob))
		n.cleanScratch(t)
	})

	t.Run("is no error when another merge has replaced it meanwhile", func(t *testing.T) {
		f := filled(t)
		m, want := f.newest(t), f.contents(t)
		other := newNode(t, Config{Store: f.store})
		var once sync.Once
		n := newNode(t, Config{Store: hooked{f.store, func(verb, _ string) (err error) {
			if verb == "get file" {
				once.Do(func() {
					err = other.definition.Do(context.Background(), execution(t, m, m.Segments, 1, nil, "other"))
					for _, s := range m.Segments {
						err = errors.Join(err, f.shard.DeleteBlob(context.Background(), s.Blob))
					}
				})
			}
			return err
		}}})
		x := execution(t, m, m.Segments, 1, nil)
		require.NoError(t, n.definition.Do(t.Context(), x))
		require.Equal(t, "inputs are gone", resultOf(t, x).NoEffect)
		require.Equal(t, want, f.contents(t))
	})
}

func TestPlanOnANewerGenerationThanTheStoreHas(t *testing.T) {
	t.Parallel()
	f := filled(t)
	m := f.newest(t)
	m.Generation += 5
	err := newNode(t, Config{Store: f.store}).definition.Do(t.Context(), execution(t, m, m.Segments, 1, nil))
	require.ErrorContains(t, err, "another store, or an older copy")
}

// TestCrashAnywhere lets a run die at each call of the store, and another one go on from what it left.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	died := errors.New("died")
	for _, applied := range []bool{false, true} { // did the fatal call reach the store?
		for at := 1; ; at++ {
			f := filled(t)
			before, want := f.newest(t), f.contents(t)
			calls := 0
			var mu sync.Mutex
			n := newNode(t, Config{Store: hooked{f.store, func(string, string) error {
				mu.Lock()
				defer mu.Unlock()
				if calls++; calls > at || calls == at && !applied {
					return died
				}
				return nil
			}}})
			x := execution(t, before, before.Segments, 1, nil)
			err := n.definition.Do(t.Context(), x)
			if err == nil && calls < at {
				break // it was over before
			}
			require.Equal(t, want, f.contents(t), "crash at call %d", at)

			x = execution(t, before, before.Segments, 2, x.Report().Checkpoint)
			require.NoError(t, newNode(t, Config{Store: f.store}).definition.Do(t.Context(), x), "crash at call %d", at)
			require.Equal(t, want, f.contents(t), "crash at call %d", at)
			require.Len(t, f.newest(t).Segments, 1, "crash at call %d", at)
			require.Equal(t, before.Generation+1, f.newest(t).Generation, "one commit, whatever happened")
		}
	}
}

// TestManyMergersAndAWriter runs overlapping merges beside a writer; every document must be there once in the end.
func TestManyMergersAndAWriter(t *testing.T) {
	t.Parallel()
	f := filled(t)
	n := newNode(t, Config{Store: f.store})
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for k := range 4 {
				s, err := shard.Open(f.store, "books/0")
				if err != nil {
					t.Error(err)
					return
				}
				m, err := s.Newest(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				inputs := m.Segments[min(i%2, len(m.Segments)-1):]
				x := execution(t, m, inputs, 1, nil, fmt.Sprint("merge-", i, "-", k))
				if err := n.definition.Do(t.Context(), x); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 10 {
		f.write(t, 1000+i*5, 1005+i*5, fmt.Sprint("doc-", 100+i))
	}
	group.Wait()
	got := f.contents(t)
	require.Len(t, got, 197+50-10)
	for i := range 10 {
		require.NotContains(t, got, fmt.Sprint("doc-", 100+i))
		require.Contains(t, got, fmt.Sprint("doc-", 1000+i*5))
	}
	n.cleanScratch(t)
}
