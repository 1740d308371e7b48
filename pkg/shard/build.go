package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/index/scorch"
	index "github.com/blevesearch/bleve_index_api"
	"github.com/blevesearch/zapx/v17"
	"golang.org/x/sync/errgroup"
)

// Document is what is indexed: an ID and a JSON object.
type Document struct {
	ID     string
	Source json.RawMessage
}

// SourceField is the field that stores a document's JSON, byte for byte, unindexed. Without it a shard could not be
// indexed anew.
const SourceField = "_source"

// MaxIDBytes bounds the ID of a document.
const MaxIDBytes = 512

// BuildSegment writes a new segment file at path with docs, numbered in their order. Of documents with the same ID the
// last one stays. It holds the segment in memory meanwhile; for more than some hundred megabytes of documents build
// several and merge them. The segment has no ID and no blob yet: fill in what NameBlob returns.
//
// A document that cannot be indexed is ErrDocument; nothing is written then.
func BuildSegment(ctx context.Context, path string, m *Mapping, docs []Document) (Segment, error) {
	docs = lastOfEach(docs)
	if len(docs) == 0 {
		return Segment{}, errors.New("build segment: no documents")
	}
	analyzed, err := analyze(ctx, m, docs)
	if err != nil {
		return Segment{}, err
	}
	var plugin zap.ZapPlugin
	seg, _, err := plugin.New(analyzed)
	if err != nil {
		return Segment{}, fmt.Errorf("build segment: %w", err)
	}
	defer seg.Close()
	if seg.Count() != uint64(len(docs)) {
		return Segment{}, errors.New("build segment: nested mappings are not supported: a document must stay one document")
	}
	size, err := persist(seg.(*zap.SegmentBase), path)
	if err != nil {
		return Segment{}, fmt.Errorf("build segment: %w", err)
	}
	n := uint64(len(docs))
	return Segment{Bytes: size, Type: SegmentType, Version: SegmentVersion, Docs: n, Live: n}, nil
}

// persist syncs the segment to a file. zap does not cut a longer file that is there, so there must be none.
func persist(seg *zap.SegmentBase, path string) (int64, error) {
	if err := removeFile(path); err != nil {
		return 0, err
	}
	if err := zap.PersistSegmentBase(seg, path); err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// lastOfEach keeps the last document of each ID, in the order of these.
func lastOfEach(docs []Document) []Document {
	last := make(map[string]int, len(docs))
	for i, d := range docs {
		last[d.ID] = i
	}
	if len(last) == len(docs) {
		return docs
	}
	kept := make([]Document, 0, len(last))
	for i, d := range docs {
		if last[d.ID] == i {
			kept = append(kept, d)
		}
	}
	return kept
}

// analyze does the costly part of indexing on all cores.
func analyze(ctx context.Context, m *Mapping, docs []Document) ([]index.Document, error) {
	// Analysis is a method of an index for the sake of its spatial plugin; the index is never opened.
	analyzer, err := scorch.NewScorch(scorch.Name, nil, nil)
	if err != nil {
		return nil, err
	}
	analyzed := make([]index.Document, len(docs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for start := 0; start < len(docs); start += analyzeBatch {
		end := min(start+analyzeBatch, len(docs))
		group.Go(func() error {
			for i := start; i < end; i++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				doc, err := m.document(docs[i])
				if err != nil {
					return err
				}
				analyzer.(*scorch.Scorch).Analyze(doc)
				analyzed[i] = doc
			}
			return nil
		})
	}
	return analyzed, group.Wait()
}

const analyzeBatch = 64

// Check returns ErrDocument if doc cannot be indexed by this mapping.
func (m *Mapping) Check(doc Document) error {
	_, err := m.document(doc)
	return err
}

func (m *Mapping) document(d Document) (*document.Document, error) {
	if d.ID == "" || len(d.ID) > MaxIDBytes {
		return nil, fmt.Errorf("%w %.80q: its ID has %d bytes, allowed are 1 to %d", ErrDocument, d.ID, len(d.ID), MaxIDBytes)
	}
	var fields map[string]any
	if err := json.Unmarshal(d.Source, &fields); err != nil || fields == nil {
		return nil, fmt.Errorf("%w %q: it is not a JSON object: %w", ErrDocument, d.ID, orNull(err))
	}
	for _, taken := range []string{"_id", SourceField, "_all"} {
		if _, ok := fields[taken]; ok {
			return nil, fmt.Errorf("%w %q: the field %s is ours", ErrDocument, d.ID, taken)
		}
	}
	doc := document.NewDocument(d.ID)
	if err := m.impl.MapDocument(doc, fields); err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrDocument, d.ID, err)
	}
	doc.AddIDField()
	doc.AddField(document.NewTextFieldWithIndexingOptions(SourceField, nil, d.Source, index.StoreField))
	return doc, nil
}

func orNull(err error) error {
	if err == nil {
		return errors.New("it is null")
	}
	return err
}
