package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestADataNodesMergesRunOffline(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	bucket := testkit.S3(t)
	f.Store = &bucket
	nodes := map[string]*fleet.Process{"n1": f.Node("n1", "node.types=merge"), "n2": f.Node("n2", "node.types=merge")}
	d := f.DataNode("d1")
	d.Call(http.MethodPut, "/shards/books", `{"fields":{"title":"text","year":"number","shelf":"keyword"}}`, nil)

	want := map[string]bool{}
	write := func(round int) {
		var bulk bytes.Buffer
		for i := range 150 {
			id := fmt.Sprintf("%d-%d", round, i)
			fmt.Fprintf(&bulk, "{\"index\":{\"_id\":%q}}\n{\"title\":\"whale number %d of the %d sea\",\"year\":%d,\"shelf\":\"s%d\"}\n", id, i, round, 1800+i, i%7)
			want[id] = true
		}
		for i := 0; round > 0 && i < 150; i += 10 {
			id := fmt.Sprintf("%d-%d", round-1, i)
			fmt.Fprintf(&bulk, "{\"delete\":{\"_id\":%q}}\n", id)
			delete(want, id)
		}
		var answer struct{ Errors bool }
		d.Call(http.MethodPost, "/shards/books/_bulk?refresh=true", bulk.String(), &answer)
		require.False(t, answer.Errors)
	}
	for round := range 30 {
		write(round)
	}
	query := `{"query":{"term":"s3","field":"shelf"},"size":1000,"sort":["_id"]}`
	before, _ := d.Hits("books", query)

	// A node that is met merging dies; the other one goes on.
	killed := ""
	require.Eventually(t, func() bool {
		for _, m := range d.Merges("books") {
			if killed == "" && m.Where == "offline" && m.Status == "running" && nodes[m.Node] != nil {
				killed = m.Node
				nodes[m.Node].Kill()
			}
		}
		d.Call(http.MethodPost, "/shards/books/_merge?max_segments=1", "", nil)
		var stats struct{ Segments int }
		d.Call(http.MethodGet, "/shards/books/_stats", "", &stats)
		return stats.Segments == 1
	}, 2*time.Minute, 5*time.Millisecond)
	t.Logf("killed while merging: %q", killed)
	write(30) // writes and deletes meet the merge

	require.Eventually(t, func() bool {
		for _, m := range d.Merges("books") {
			if m.Status == "running" || m.Status == "waiting" {
				return false
			}
		}
		return true
	}, 2*time.Minute, 200*time.Millisecond, "merges do not end")
	require.True(t, slices.ContainsFunc(d.Merges("books"), func(m fleet.Merge) bool { return m.Where == "offline" && m.Status == "committed" }), "%+v", d.Merges("books"))
	d.Call(http.MethodPost, "/shards/books/_refresh", "", nil)

	got, total := d.Hits("books", `{"size":10000,"sort":["_id"]}`)
	require.Len(t, got, len(want))
	require.EqualValues(t, len(want), total)
	for _, id := range got {
		require.True(t, want[id], "%s was deleted", id)
	}
	after, _ := d.Hits("books", query)
	after = slices.DeleteFunc(after, func(id string) bool { return strings.HasPrefix(id, "30-") })
	before = slices.DeleteFunc(before, func(id string) bool { return !want[id] })
	require.Equal(t, before, after)
}
