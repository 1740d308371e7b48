package datanode

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/search"
)

// fragments is how many pieces of one field a hit shows.
const fragments = 3

// highlight shows where a hit matched. The text is taken from the document's source: fields need not be stored.
func highlight(index bleve.Index, match *search.DocumentMatch, source json.RawMessage, fields []string) (map[string][]string, error) {
	highlighter, err := bleve.Config.Cache.HighlighterNamed(bleve.Config.DefaultHighlighter)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(source, &object); err != nil {
		return nil, err
	}
	doc := document.NewDocument(match.ID)
	if err := index.Mapping().MapDocument(doc, object); err != nil {
		return nil, err
	}
	if slices.Contains(fields, "*") {
		fields = slices.Sorted(maps.Keys(match.Locations))
	}
	shown := map[string][]string{}
	for _, field := range fields {
		if len(match.Locations[field]) == 0 {
			continue
		}
		if pieces := highlighter.BestFragmentsInField(match, doc, field, fragments); len(pieces) > 0 {
			shown[field] = pieces
		}
	}
	return shown, nil
}
