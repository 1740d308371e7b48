package remotegc

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// quick collects without any grace.
func quick(t *testing.T, store remotestore.Store) *task.Mux {
	t.Helper()
	c, err := newCollector(Config{Store: store, Keep: 1, Grace: 1, Reserved: 1})
	require.NoError(t, err)
	mux := task.NewMux()
	c.register(mux)
	return mux
}

// shardWithGarbage has an orphan, an old generation and a live blob.
func shardWithGarbage(t *testing.T, store remotestore.Store, name string) {
	t.Helper()
	s, err := shard.Open(store, name)
	require.NoError(t, err)
	_, err = s.Create(t.Context(), shard.Settings{})
	require.NoError(t, err)
	for i := range 2 {
		blob := shard.BlobName(strings.Repeat("0", 64) + fmt.Sprintf("-00000000-0000-4000-8000-00000000000%d", i))
		require.NoError(t, store.Put(t.Context(), name+"/blob/"+string(blob), []byte("x")))
		if i == 0 {
			continue
		}
		seg := shard.Segment{Blob: blob, Bytes: 1, Type: shard.SegmentType, Version: shard.SegmentVersion, Docs: 1, Live: 1}
		_, err = s.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
			return shard.Commit(cur, shard.Change{Outputs: []shard.Segment{seg}})
		})
		require.NoError(t, err)
	}
}

func resultOf(t *testing.T, r tasktest.Result) (result Result) {
	t.Helper()
	require.NoError(t, r.Err)
	require.Equal(t, tasktest.Success, r.Outcome)
	require.NoError(t, r.ReadResult(&result))
	return result
}

func TestTheWorkerCollectsEveryShard(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	for _, name := range []string{"books/0", "books/1", "films"} {
		shardWithGarbage(t, store, name)
	}
	mux := quick(t, store)
	first := resultOf(t, tasktest.Run(t.Context(), mux, Type, Params{}))
	require.Equal(t, 3, first.Shards)
	require.Equal(t, Count{3, 3}, first.Found[Waiting])
	second := resultOf(t, tasktest.Run(t.Context(), mux, Type, Params{Folder: "books/"}))
	require.Equal(t, 2, second.Shards)
	require.Equal(t, Count{2, 2}, second.Found[Garbage])
	require.Equal(t, 2, second.Found[OldGeneration].Objects)
	dry := resultOf(t, tasktest.Run(t.Context(), mux, Type, Params{DryRun: true}))
	require.Equal(t, Count{1, 1}, dry.Found[Garbage])
	require.Contains(t, dry.Examples[1], "garbage films/blob/")
	third := resultOf(t, tasktest.Run(t.Context(), mux, Type, Params{Shards: []string{"films"}}))
	require.Equal(t, 1, third.Shards)
	require.Equal(t, Count{1, 1}, third.Found[Garbage])
}

func TestABrokenShardDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	for _, name := range []string{"a", "b", "c"} {
		shardWithGarbage(t, store, name)
	}
	require.NoError(t, store.Put(t.Context(), "b/manifest/00000000000000000002.json", []byte("x")))
	mux := quick(t, store)
	resultOf(t, tasktest.Run(t.Context(), mux, Type, Params{}))
	result := resultOf(t, tasktest.Run(t.Context(), mux, Type, Params{}))
	require.Equal(t, 3, result.Shards)
	require.Equal(t, 1, result.Failed)
	require.Equal(t, "b", result.Failures[0].Shard)
	require.Contains(t, result.Failures[0].Error, "corrupt")
	require.Equal(t, Count{2, 2}, result.Found[Garbage])
}

func TestARunThatIsInterruptedGoesOnBehindTheLastShard(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	for _, name := range []string{"a", "b", "c"} {
		shardWithGarbage(t, store, name)
	}
	died := errors.New("died")
	seen := map[string]int{}
	mux := quick(t, hooked{store, func(verb, key string) error {
		name, isClock := strings.CutSuffix(key, "/gc/clock")
		if verb == "put" && isClock {
			seen[name]++
		}
		if name == "b" && seen["b"] == 1 {
			panic(died)
		}
		return nil
	}})
	first := tasktest.Run(t.Context(), mux, Type, Params{})
	require.Equal(t, tasktest.Retry, first.Outcome)
	result := resultOf(t, first.Again(t.Context()))
	require.Equal(t, map[string]int{"a": 1, "b": 2, "c": 1}, seen)
	require.Equal(t, 3, result.Shards)
	require.Equal(t, Count{3, 3}, result.Found[Waiting], "what the first run found is counted")
}

func TestParamsReportEveryMistake(t *testing.T) {
	t.Parallel()
	require.NoError(t, Params{}.Validate())
	require.NoError(t, Params{Folder: "books/"}.Validate())
	err := Params{Shards: []string{"../x", "a/blob"}, Folder: "/x"}.Validate()
	for _, says := range []string{"shard name", "a/blob", "bad object key", "end with a slash", "exclude"} {
		require.ErrorContains(t, err, says)
	}
	require.Equal(t, "collect garbage of the whole store", Params{}.Describe())
	require.Equal(t, "look for garbage in books/", Params{Folder: "books/", DryRun: true}.Describe())
}

func TestOnARealServer(t *testing.T) {
	t.Parallel()
	bucket := testkit.S3(t)
	store, err := remotestore.Open(t.Context(), remotestore.Config{
		URL:       "s3://" + bucket.Name + "/some/prefix?endpoint=" + bucket.Endpoint + "&region=" + bucket.Region,
		AccessKey: bucket.AccessKey, SecretKey: remotestore.Secret(bucket.SecretKey),
	})
	require.NoError(t, err)
	defer store.(io.Closer).Close()
	for _, name := range []string{"books/0", "films"} {
		shardWithGarbage(t, store, name)
	}
	mux := quick(t, store)
	first := resultOf(t, tasktest.Run(t.Context(), mux, Type, Params{}))
	require.Equal(t, 2, first.Shards)
	require.Equal(t, Count{2, 2}, first.Found[Waiting])
	<-time.After(1100 * time.Millisecond) // S3 tells seconds
	second := resultOf(t, tasktest.Run(t.Context(), mux, Type, Params{}))
	require.Zero(t, second.Failed, second.Failures)
	require.Equal(t, Count{2, 2}, second.Found[Garbage])
	require.Equal(t, 2, second.Found[OldGeneration].Objects)
	third := resultOf(t, tasktest.Run(t.Context(), mux, Type, Params{}))
	require.Equal(t, Tally{Live: {2, 2}, Generation: {2, third.Found[Generation].Bytes}}, third.Found)
	s, err := shard.Open(store, "films")
	require.NoError(t, err)
	m, err := s.Newest(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, m.Generation)
}
