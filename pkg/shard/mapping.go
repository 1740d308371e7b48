package shard

import (
	"encoding/json"
	"fmt"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/mapping"
)

// Mapping says how documents are indexed. It is safe for concurrent use.
type Mapping struct {
	impl *mapping.IndexMappingImpl
}

// ParseMapping reads a bleve index mapping and checks that this build knows its analyzers and parsers.
func ParseMapping(raw json.RawMessage) (*Mapping, error) {
	impl := bleve.NewIndexMapping()
	if err := json.Unmarshal(raw, impl); err != nil {
		return nil, fmt.Errorf("index mapping: %w", err)
	}
	if err := impl.Validate(); err != nil {
		return nil, fmt.Errorf("index mapping: %w", err)
	}
	return &Mapping{impl}, nil
}

// DefaultMapping returns a mapping that indexes every field of a document by its JSON type, and keeps segments small:
// there are no doc values, no copies of single fields beside the source, and no "_all" field. Each of these costs about
// as much room as the index itself, so a mapping that needs one says so. Without "_all", queries name their field.
func DefaultMapping() json.RawMessage {
	m := bleve.NewIndexMapping()
	m.StoreDynamic = false
	m.DocValuesDynamic = false
	m.DefaultMapping.AddSubDocumentMapping("_all", bleve.NewDocumentDisabledMapping())
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err) // a constant: the tests read it
	}
	return raw
}
