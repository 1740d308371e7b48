package datanode_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/blevesearch/bleve/v2"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

func TestABulkTellsWhatBecameOfEachWrite(t *testing.T) {
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory()}), "books/0")
	w := write(t, sh, put("1", `{"title":"blue moon","n":1}`), put("2", `{"title":"red sun"}`), put("2", `{"title":"redder sun"}`),
		datanode.Op{Kind: datanode.Create, ID: "3", Source: json.RawMessage(`{"title":"green"}`)},
		datanode.Op{Kind: datanode.Delete, ID: "4"})
	require.Equal(t, []string{"created", "created", "updated", "created", "not_found"}, outcomes(w))
	require.True(t, w.Failed())

	w = write(t, sh, put("1", `{"title":"new moon"}`), put("bad", `[1]`), put("worse", `{"_id":"x"}`),
		datanode.Op{Kind: datanode.Create, ID: "3", Source: json.RawMessage(`{}`)},
		datanode.Op{Kind: datanode.Update, ID: "2", Source: json.RawMessage(`{"n":7,"deep":{"a":1}}`)},
		datanode.Op{Kind: datanode.Update, ID: "2", Source: json.RawMessage(`{"deep":{"b":12345678901234567890}}`)},
		datanode.Op{Kind: datanode.Update, ID: "2", Source: json.RawMessage(`{"n":7}`)},
		datanode.Op{Kind: datanode.Update, ID: "9", Source: json.RawMessage(`{"n":7}`)},
		datanode.Op{Kind: datanode.Update, ID: "8", Source: json.RawMessage(`{"n":8}`), Upsert: true},
		datanode.Op{Kind: datanode.Delete, ID: "3"})
	require.Equal(t, []string{"updated", "refused", "refused", "exists", "updated", "updated", "noop", "not_found", "created", "deleted"}, outcomes(w))
	require.ErrorIs(t, w.Items[1].Err, datanode.ErrDocument)
	require.ErrorContains(t, w.Items[2].Err, "worse")

	got, err := sh.Get(t.Context(), "2")
	require.NoError(t, err)
	require.JSONEq(t, `{"title":"redder sun","n":7,"deep":{"a":1,"b":12345678901234567890}}`, string(got.Source))
	_, err = sh.Get(t.Context(), "3")
	require.ErrorIs(t, err, datanode.ErrNotFound)
	require.Equal(t, []string{"1", "2", "8"}, ids(t, sh, datanode.Query{Sort: []string{"_id"}}))
	require.Equal(t, []string{"1"}, ids(t, sh, datanode.Query{Match: map[string]string{"title": "moon"}}))
	require.Empty(t, ids(t, sh, datanode.Query{Text: "title:blue"}))

	before := sh.Stats()
	w = write(t, sh, datanode.Op{Kind: datanode.Delete, ID: "none"})
	require.Equal(t, before.Generation, w.Generation, "nothing to write, nothing committed")
	_, err = sh.Bulk(t.Context(), nil)
	require.ErrorIs(t, err, datanode.ErrInvalid)
	require.EqualValues(t, 3, before.Docs)
}

func TestSearch(t *testing.T) {
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory()}), "books")
	write(t, sh, put("a", `{"title":"the blue moon rises","kind":"poem","price":3,"at":"2024-03-01T00:00:00Z"}`),
		put("b", `{"title":"moon over sea","body":"blue water","kind":"novel","price":12.5,"at":"2025-03-01T00:00:00Z"}`),
		put("c", `{"title":"desert","kind":"novel","price":7}`))
	find := func(q datanode.Query) []string { return ids(t, sh, q) }
	require.Equal(t, []string{"a", "b"}, find(datanode.Query{Text: "blue", Sort: []string{"_id"}}), "a word without a field is looked for in all")
	require.Equal(t, []string{"a"}, find(datanode.Query{Text: "+moon +title:blue"}))
	require.Equal(t, []string{"b"}, find(datanode.Query{Text: "price:>10"}))
	require.Equal(t, []string{"b", "c", "a"}, find(datanode.Query{Sort: []string{"-price"}}))
	require.Equal(t, []string{"a", "b"}, find(datanode.Query{Match: map[string]string{"*": "moon"}, Sort: []string{"_id"}}))
	require.Equal(t, []string{"c"}, find(datanode.Query{Raw: json.RawMessage(`{"term":"desert","field":"title"}`)}))
	require.Equal(t, []string{"b"}, find(datanode.Query{Raw: json.RawMessage(`{"start":"2025-01-01T00:00:00Z","field":"at"}`)}))

	found, err := sh.Search(t.Context(), datanode.Query{
		Text: "moon", Size: 1, From: 1, Sort: []string{"price"}, Highlight: []string{"*"},
		Facets: bleve.FacetsRequest{"kinds": bleve.NewFacetRequest("kind", 5)},
	})
	require.NoError(t, err)
	require.EqualValues(t, 2, found.Total)
	require.Len(t, found.Hits, 1)
	require.Equal(t, "b", found.Hits[0].ID)
	require.Equal(t, map[string][]string{"title": {"<mark>moon</mark> over sea"}}, found.Hits[0].Highlight)
	require.JSONEq(t, `{"title":"moon over sea","body":"blue water","kind":"novel","price":12.5,"at":"2025-03-01T00:00:00Z"}`, string(found.Hits[0].Source))
	require.Equal(t, 2, found.Facets["kinds"].Terms.Len())
	require.Equal(t, []string{"12.5"}, found.Hits[0].Sort)
	found, err = sh.Search(t.Context(), datanode.Query{Size: 1, Sort: []string{"-at", "title"}, NoSource: true})
	require.NoError(t, err)
	require.Equal(t, "2025-03-01T00:00:00Z", found.Hits[0].Sort[0])
	require.Nil(t, found.Hits[0].Source)

	for _, q := range []datanode.Query{
		{Text: `"unclosed`},
		{Text: "a", Match: map[string]string{"b": "c"}},
		{Raw: json.RawMessage(`{`)},
		{Raw: json.RawMessage(`{"nonsense":1}`)},
		{Size: -1},
		{Size: 20_000},
		{Raw: json.RawMessage(`{"regexp":"(","field":"title"}`)},
	} {
		_, err := sh.Search(t.Context(), q)
		require.ErrorIs(t, err, datanode.ErrInvalid, "%+v", q)
	}
}

func TestRestartServesTheNewestGenerationFromAnEmptyDisk(t *testing.T) {
	store, err := remotestore.NewFilesystem(t.TempDir())
	require.NoError(t, err)
	n := start(t, datanode.Config{Store: store})
	sh := create(t, n, "books/0")
	for i := range 5 {
		write(t, sh, put(fmt.Sprint(i), title(i)))
	}
	write(t, sh, datanode.Op{Kind: datanode.Delete, ID: "3"})
	n.stop()
	_, err = sh.Bulk(t.Context(), []datanode.Op{put("9", `{}`)})
	require.ErrorIs(t, err, datanode.ErrClosed)
	_, err = sh.Search(t.Context(), datanode.Query{})
	require.ErrorIs(t, err, datanode.ErrClosed)

	again := create(t, start(t, datanode.Config{Store: store}), "books/0")
	require.Equal(t, []string{"0", "1", "2", "4"}, ids(t, again, datanode.Query{Sort: []string{"_id"}}))
	require.Equal(t, []string{"updated"}, outcomes(write(t, again, put("4", title(44)))))
}

func TestTheLastOneToOpenAShardWritesIt(t *testing.T) {
	store := remotestore.NewMemory()
	a, b := start(t, datanode.Config{Name: "a", Store: store}), start(t, datanode.Config{Name: "b", Store: store})
	first := create(t, a, "books")
	write(t, first, put("1", title(1)))
	second := create(t, b, "books")
	_, err := first.Bulk(t.Context(), []datanode.Op{put("1", title(2))})
	require.ErrorIs(t, err, datanode.ErrNotWriter)
	require.ErrorContains(t, err, "b/")
	require.False(t, first.Stats().Writable)
	write(t, second, put("1", title(3)))
	eventually(t, func() bool {
		got, err := first.Get(t.Context(), "1")
		return err == nil && string(got.Source) == title(3)
	}, "the node that lost the shard goes on following it")

	back := create(t, a, "books")
	write(t, back, put("1", title(4)))
	_, err = second.Bulk(t.Context(), []datanode.Op{put("1", title(5))})
	require.ErrorIs(t, err, datanode.ErrNotWriter)
}

func TestMappings(t *testing.T) {
	n := start(t, datanode.Config{Store: remotestore.NewMemory()})
	m := bleve.NewIndexMapping()
	m.DefaultAnalyzer = "keyword"
	raw, err := json.Marshal(m)
	require.NoError(t, err)
	sh, created, err := n.Create(t.Context(), "books", datanode.Settings{Mapping: raw})
	require.NoError(t, err)
	require.True(t, created)
	write(t, sh, put("1", `{"title":"Blue Moon"}`))
	require.Equal(t, []string{"1"}, ids(t, sh, datanode.Query{Raw: json.RawMessage(`{"term":"Blue Moon","field":"title"}`)}))

	same, created, err := n.Create(t.Context(), "books", datanode.Settings{Mapping: raw})
	require.NoError(t, err)
	require.False(t, created)
	require.Same(t, sh, same)
	_, _, err = n.Create(t.Context(), "books", datanode.Settings{Mapping: json.RawMessage(`{"default_analyzer":"en"}`)})
	require.ErrorIs(t, err, datanode.ErrConflict)
	_, _, err = n.Create(t.Context(), "others", datanode.Settings{Mapping: json.RawMessage(`{"default_analyzer":"klingon"}`)})
	require.ErrorIs(t, err, datanode.ErrInvalid)
	_, _, err = n.Create(t.Context(), "../x", datanode.Settings{})
	require.ErrorIs(t, err, datanode.ErrInvalid)
}

func TestDropLeavesTheDataUnlessItIsPurged(t *testing.T) {
	store := remotestore.NewMemory()
	n := start(t, datanode.Config{Store: store})
	write(t, create(t, n, "books"), put("1", title(1)))
	write(t, create(t, n, "books/0"), put("1", title(1)))
	require.NoError(t, n.Drop(t.Context(), "books", false))
	_, err := n.Shard("books")
	require.ErrorIs(t, err, datanode.ErrNoShard)
	_, created, err := n.Create(t.Context(), "books", datanode.Settings{})
	require.NoError(t, err)
	require.False(t, created)

	require.NoError(t, n.Drop(t.Context(), "books", true))
	for o, err := range store.List(t.Context(), "", "") {
		require.NoError(t, err)
		require.Contains(t, o.Key, "books/0/", "the shard below it is another one")
	}
	_, created, err = n.Create(t.Context(), "books", datanode.Settings{})
	require.NoError(t, err)
	require.True(t, created)
	require.ErrorIs(t, n.Drop(t.Context(), "none", true), datanode.ErrNoShard)
}

// away is a store that fails on demand.
type away struct {
	remotestore.Store
	uploads, creates atomic.Bool
	uploaded         atomic.Int64
	before           atomic.Pointer[func(key string)] // called before each create
}

var errAway = errors.New("the store is away")

func (a *away) PutFile(ctx context.Context, key, path string) error {
	if a.uploads.Load() {
		return errAway
	}
	a.uploaded.Add(1)
	return a.Store.PutFile(ctx, key, path)
}

func (a *away) Create(ctx context.Context, key string, body []byte) error {
	if a.creates.Load() {
		return errAway
	}
	if before := a.before.Load(); before != nil {
		(*before)(key)
	}
	return a.Store.Create(ctx, key, body)
}

func TestAStoreThatIsAwayLeavesNothingHalfVisible(t *testing.T) {
	store := &away{Store: remotestore.NewMemory()}
	sh := create(t, start(t, datanode.Config{Store: store}), "books")
	write(t, sh, put("1", title(1)))
	before := sh.Stats().Generation
	for _, fault := range []*atomic.Bool{&store.uploads, &store.creates} {
		fault.Store(true)
		_, err := sh.Bulk(t.Context(), []datanode.Op{put("1", title(2)), put("2", title(2))})
		require.ErrorIs(t, err, errAway)
		require.Equal(t, []string{"1"}, ids(t, sh, datanode.Query{}))
		got, err := sh.Get(t.Context(), "1")
		require.NoError(t, err)
		require.JSONEq(t, title(1), string(got.Source))
		require.Equal(t, before, sh.Stats().Generation)
		fault.Store(false)
	}
	require.Equal(t, []string{"updated", "created"}, outcomes(write(t, sh, put("1", title(2)), put("2", title(2)))))
	require.EqualValues(t, 2, sh.Stats().Writes.Errors)
}

func TestBulksThatComeTogetherShareACommit(t *testing.T) {
	store := &away{Store: remotestore.NewMemory()}
	sh := create(t, start(t, datanode.Config{Store: store}), "books")
	const writers = 20
	entered, release := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() {
		close(entered)
		<-release
	})
	before := func(string) { hold() }
	store.before.Store(&before)
	var group sync.WaitGroup
	group.Go(func() { write(t, sh, put("first", title(0))) })
	<-entered // its commit is under way
	cancelled, cancel := context.WithCancel(t.Context())
	group.Go(func() {
		_, err := sh.Bulk(cancelled, []datanode.Op{put("cancelled", title(0))})
		require.ErrorIs(t, err, context.Canceled)
	})
	for i := range writers {
		group.Go(func() { write(t, sh, put(fmt.Sprint(i%10), title(i))) })
	}
	eventually(t, func() bool { return sh.Stats().Writes.Pending > (writers+1)*64 }, "all wait")
	cancel()
	eventually(t, func() bool { return sh.Stats().Writes.Bulks == 1 }, "the cancelled one has left")
	close(release)
	group.Wait()
	s := sh.Stats()
	require.EqualValues(t, writers+2, s.Writes.Bulks)
	require.EqualValues(t, 2, s.Writes.Commits)
	require.Zero(t, s.Writes.Pending)
	require.EqualValues(t, 11, s.Docs)
}

func TestTooManyPendingWritesAreBusy(t *testing.T) {
	store := &away{Store: remotestore.NewMemory()}
	sh := create(t, start(t, datanode.Config{Store: store, Limits: datanode.Limits{PendingBytes: 1000}}), "books")
	entered, release := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() {
		close(entered)
		<-release
	})
	before := func(string) { hold() }
	store.before.Store(&before)
	var group sync.WaitGroup
	group.Go(func() { write(t, sh, put("1", title(0))) })
	<-entered
	_, err := sh.Bulk(t.Context(), []datanode.Op{put("2", fmt.Sprintf(`{"t":%q}`, make([]byte, 1000)))})
	require.ErrorIs(t, err, datanode.ErrBusy)
	close(release)
	group.Wait()
}
