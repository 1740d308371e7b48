package shard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/query"
)

// CheckQuery tells what is wrong with a query in bleve's query string syntax.
func CheckQuery(text string) error {
	if err := bleve.NewQueryStringQuery(text).Validate(); err != nil {
		return fmt.Errorf("query %.200q: %w", text, err)
	}
	return nil
}

// MatchSegment returns the documents of a segment that a query in bleve's query string syntax finds, deleted ones left
// out. path is the segment's file, mapping that of its shard. Beside the file it makes a folder, and removes it.
func MatchSegment(ctx context.Context, path string, seg Segment, mapping []byte, text string) (docs DocSet, err error) {
	if err := seg.Readable(); err != nil {
		return DocSet{}, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "match-")
	if err != nil {
		return DocSet{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	one := Manifest{Generation: 1, Segments: []Segment{seg}, Mapping: mapping}
	if err := writeIndex(dir, one, []*File{{Path: path}}); err != nil {
		return DocSet{}, fmt.Errorf("open segment %d for a query: %w", seg.ID, err)
	}
	idx, err := bleve.OpenUsing(dir, map[string]any{"read_only": true, "scorchMergePlanOptions": neverMerge})
	if err != nil {
		return DocSet{}, fmt.Errorf("open segment %d for a query: %w", seg.ID, err)
	}
	defer func() { err = errors.Join(err, idx.Close()) }()
	docs, err = matches(ctx, idx, bleve.NewQueryStringQuery(text))
	if err != nil {
		return DocSet{}, fmt.Errorf("query segment %d: %w", seg.ID, err)
	}
	return docs, nil
}

// matches runs a query over an index of one segment, whose numbers are then those of the index.
func matches(ctx context.Context, idx bleve.Index, q query.Query) (docs DocSet, err error) {
	inner, err := idx.Advanced()
	if err != nil {
		return DocSet{}, err
	}
	reader, err := inner.Reader()
	if err != nil {
		return DocSet{}, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	searcher, err := q.Searcher(ctx, reader, idx.Mapping(), search.SearcherOptions{Score: "none"})
	if err != nil {
		return DocSet{}, err
	}
	defer func() { err = errors.Join(err, searcher.Close()) }()
	at := &search.SearchContext{
		DocumentMatchPool: search.NewDocumentMatchPool(searcher.DocumentMatchPoolSize()+1, 0), IndexReader: reader,
	}
	found := roaring.New()
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return DocSet{}, context.Cause(ctx)
		}
		hit, err := searcher.Next(at)
		if err != nil || hit == nil {
			return docSetOf(found), err
		}
		found.Add(uint32(hit.IndexInternalID.Value()))
		at.DocumentMatchPool.Put(hit)
	}
}
