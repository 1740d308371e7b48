package datanode_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

const bulkDocs = 500

// someDocs are documents of about a kilobyte.
func someDocs(from int) []datanode.Op {
	ops := make([]datanode.Op, bulkDocs)
	for i := range ops {
		n := from + i
		body := make([]string, 120)
		for k := range body {
			body[k] = fmt.Sprintf("word%d", (n*k*k+k)%5000)
		}
		ops[i] = put(fmt.Sprint(n%20_000), fmt.Sprintf(`{"title":"moon %d","n":%d,"body":%q}`, n, n, strings.Join(body, " ")))
	}
	return ops
}

func benchShard(b *testing.B) *datanode.Shard {
	b.Helper()
	store, err := remotestore.NewFilesystem(b.TempDir())
	require.NoError(b, err)
	plan := datanode.DefaultPlan()
	return create(b, start(b, datanode.Config{Store: store, Plan: &plan, Refresh: time.Second, Poll: 5 * time.Second}), "books")
}

func BenchmarkBulk(b *testing.B) {
	sh, n := benchShard(b), 0
	for b.Loop() {
		write(b, sh, someDocs(n)...)
		n += bulkDocs
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkSearch(b *testing.B) {
	sh := benchShard(b)
	for i := range 10 {
		write(b, sh, someDocs(i*bulkDocs)...)
	}
	_, err := sh.Refresh(b.Context())
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, err := sh.Search(b.Context(), datanode.Query{Match: map[string]string{"body": "word17 word44"}, Size: 10})
		require.NoError(b, err)
	}
}

func BenchmarkRefresh(b *testing.B) {
	sh := benchShard(b)
	for i := range 10 {
		write(b, sh, someDocs(i*bulkDocs)...)
	}
	for b.Loop() {
		write(b, sh, put("x", title(b.N)))
		_, err := sh.Refresh(b.Context())
		require.NoError(b, err)
	}
}
