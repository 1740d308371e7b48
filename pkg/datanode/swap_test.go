package datanode_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// Each bulk writes all documents anew, with one round. So a search that sees half a bulk, or a generation that is being
// closed, finds two rounds, too few documents, or an error.
func TestSearchesSeeWholeGenerationsWhileTheyAreSwapped(t *testing.T) {
	const docs, rounds, searchers = 20, 60, 4
	store, q := remotestore.NewMemory(), newQueue()
	newWorker(t, q, store).serve(t)
	offline := auto()
	offline.MinBytes = 20_000 // some merges here, some there
	sh := create(t, start(t, datanode.Config{
		Store: store, Queue: q, Plan: eager(), Offline: offline, Refresh: time.Microsecond,
	}), "books")
	round := func(i int) datanode.Written {
		var ops []datanode.Op
		for k := range docs {
			ops = append(ops, put(fmt.Sprint(k), fmt.Sprintf(`{"title":"moon","round":%d}`, i)))
		}
		return write(t, sh, ops...)
	}
	w := round(0)
	require.NoError(t, sh.WaitSearchable(t.Context(), w.Generation))
	stop := make(chan struct{})
	var searched, generations atomic.Int64
	var group sync.WaitGroup
	for range searchers {
		group.Go(func() {
			last := -1
			for {
				select {
				case <-stop:
					return
				default:
				}
				found, err := sh.Search(t.Context(), datanode.Query{Text: "title:moon", Size: 2 * docs})
				if !assertWhole(t, found, err, docs, &last) {
					return
				}
				searched.Add(1)
				generations.Store(int64(found.Generation))
			}
		})
	}
	for i := range rounds {
		w := round(i + 1)
		if i%3 == 0 {
			require.NoError(t, sh.WaitSearchable(t.Context(), w.Generation))
		}
	}
	idle(t, sh)
	close(stop)
	group.Wait()
	s := sh.Stats()
	require.Zero(t, s.Searches.Errors)
	require.Positive(t, s.Merges.Local+s.Merges.Offline)
	t.Logf("%d searches over %d generations, %d merges here and %d offline", searched.Load(), generations.Load(), s.Merges.Local, s.Merges.Offline)
}

// assertWhole fails the test unless a search saw all documents of one round, and none before the last it saw.
func assertWhole(t testing.TB, found *datanode.Found, err error, docs int, last *int) bool {
	t.Helper()
	if err != nil || len(found.Hits) != docs {
		t.Errorf("search failed: %v, %+v", err, found)
		return false
	}
	var first struct{ Round int }
	for i, hit := range found.Hits {
		var doc struct{ Round int }
		if err := json.Unmarshal(hit.Source, &doc); err != nil {
			t.Error(err)
			return false
		}
		if i == 0 {
			first = doc
		}
		if doc != first || doc.Round < *last {
			t.Errorf("round %d after %d and %d, generation %d", doc.Round, first.Round, *last, found.Generation)
			return false
		}
	}
	*last = first.Round
	return true
}
