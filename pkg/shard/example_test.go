package shard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/blevesearch/bleve/v2"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// A shard is created, a segment is written to it, and the new generation is searched.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "shard")
	check(err)
	defer os.RemoveAll(dir)

	books, err := shard.Open(remotestore.NewMemory(), "books/0")
	check(err)
	created, err := books.Create(ctx, shard.Settings{})
	check(err)
	mapping, err := shard.ParseMapping(created.Mapping)
	check(err)

	path := filepath.Join(dir, "new-segment")
	segment, err := shard.BuildSegment(ctx, path, mapping, []shard.Document{
		{ID: "moby", Source: json.RawMessage(`{"title":"Moby Dick","year":1851}`)},
		{ID: "emma", Source: json.RawMessage(`{"title":"Emma","year":1815}`)},
	})
	check(err)
	blob, err := shard.NameBlob(path)
	check(err)
	check(books.Upload(ctx, blob, path))
	segment.Blob = blob.Name
	newest, err := books.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Outputs: []shard.Segment{segment}})
	})
	check(err)

	cache, err := shard.OpenCache(filepath.Join(dir, "cache"), 1<<30)
	check(err)
	defer cache.Close()
	index, err := cache.OpenIndex(ctx, books, newest)
	check(err)
	defer index.Close()
	found, err := index.Search(bleve.NewSearchRequest(bleve.NewQueryStringQuery("+year:<1850")))
	check(err)
	fmt.Println("generation", newest.Generation, "has", newest.Docs(), "documents; found", found.Hits[0].ID)
	// Output: generation 2 has 2 documents; found emma
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
