package datanode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/query"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Query is a search. Of Text, Match and Raw one may be given; without any, all documents are found.
type Query struct {
	// Text is in bleve's query string syntax: words, "phrases", field:word, +must, -not, price:>10.
	Text string
	// Match asks for analysed words by field; "*" stands for all fields. A document must match in one of the fields.
	Match map[string]string
	// Raw is a bleve query as JSON.
	Raw json.RawMessage

	// Size is how many hits are returned, from the one numbered From on.
	Size, From int
	// Sort names fields, "-" before one reverses it; "_score" and "_id" are fields too. The default is the best first.
	// Equal hits are in the order of their IDs.
	Sort []string
	// Highlight names the fields whose matches are shown; "*" all in which something matched.
	Highlight []string
	// Facets count what was found, by the values of fields or by ranges.
	Facets bleve.FacetsRequest
	// NoSource leaves out the documents themselves.
	NoSource bool
}

// Found is what a search found.
type Found struct {
	Generation uint64 // that was searched
	Segments   int    // of it
	Total      uint64
	MaxScore   float64
	Hits       []Hit
	Facets     search.FacetResults
}

// Hit is a document that was found.
type Hit struct {
	ID        string              `json:"_id"`
	Score     float64             `json:"_score"`
	Source    json.RawMessage     `json:"_source,omitempty"`
	Sort      []string            `json:"sort,omitempty"`
	Highlight map[string][]string `json:"highlight,omitempty"`
}

// Search looks for documents in what the last refresh has shown. Words without a field are looked for in all fields,
// unless the mapping has a default field. An error that is ErrInvalid is the query's.
func (sh *Shard) Search(ctx context.Context, q Query) (*Found, error) {
	began := time.Now()
	sh.counts.searching.Add(1)
	found, err := sh.search(ctx, q)
	sh.counts.searching.Add(-1)
	sh.counts.searches.Add(1)
	if err == nil {
		sh.counts.searched.add(time.Since(began))
	} else {
		sh.counts.searchErrors.Add(1)
	}
	sh.node.metrics.search(ctx, time.Since(began), err)
	if err != nil {
		return nil, fmt.Errorf("search shard %s: %w", sh.name, err)
	}
	return found, nil
}

func (sh *Shard) search(ctx context.Context, q Query) (*Found, error) {
	v, err := sh.acquireView()
	if err != nil {
		return nil, err
	}
	defer sh.searchers.Done()
	defer sh.release(v.uses)
	req, err := q.request(v.index, sh.node.cfg.Limits.Hits)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	result, err := v.index.SearchInContext(ctx, req)
	if err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", ErrInvalid, err) // what bleve refuses when it runs is in the query too
		}
		return nil, err
	}
	found := &Found{
		Generation: v.index.Manifest.Generation, Segments: len(v.index.Manifest.Segments),
		Total: result.Total, MaxScore: result.MaxScore, Facets: result.Facets,
		Hits: make([]Hit, len(result.Hits)),
	}
	for i, hit := range result.Hits {
		if found.Hits[i], err = q.hit(v.index, hit); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// request translates the query for bleve.
func (q Query) request(index bleve.Index, maxHits int) (*bleve.SearchRequest, error) {
	if q.Size < 0 || q.From < 0 || q.Size > maxHits || q.From > maxHits-q.Size {
		return nil, fmt.Errorf("size %d from %d: both at least 0, and together at most %d", q.Size, q.From, maxHits)
	}
	parsed, err := q.parse()
	if err != nil {
		return nil, err
	}
	if parsed, err = everywhere(parsed, index); err != nil {
		return nil, err
	}
	req := bleve.NewSearchRequestOptions(parsed, q.Size, q.From, false)
	req.SortBy(append(q.sort(), "_id"))
	req.Facets = q.Facets
	req.IncludeLocations = len(q.Highlight) > 0
	if !q.NoSource || len(q.Highlight) > 0 {
		req.Fields = []string{shard.SourceField}
	}
	return req, req.Validate()
}

func (q Query) sort() []string {
	if len(q.Sort) == 0 {
		return []string{"-_score"}
	}
	return slices.Clip(q.Sort)
}

func (q Query) parse() (query.Query, error) {
	given := 0
	for _, has := range []bool{q.Text != "", len(q.Match) > 0, len(q.Raw) > 0} {
		if has {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, errors.New("a query string, a match and a bleve query exclude each other: give one")
	case q.Text != "":
		return query.NewQueryStringQuery(q.Text).Parse()
	case len(q.Match) > 0:
		return q.match(), nil
	case len(q.Raw) > 0:
		return query.ParseQuery(q.Raw)
	}
	return query.NewMatchAllQuery(), nil
}

func (q Query) match() query.Query {
	var either []query.Query
	for field, text := range q.Match {
		m := query.NewMatchQuery(text)
		if field != "*" {
			m.SetField(field)
		}
		either = append(either, m)
	}
	if len(either) == 1 {
		return either[0]
	}
	return query.NewDisjunctionQuery(either)
}

func (q Query) hit(index bleve.Index, match *search.DocumentMatch) (Hit, error) {
	hit := Hit{ID: match.ID, Score: match.Score}
	if len(q.Sort) > 0 {
		hit.Sort = sortedBy(match)[:len(q.Sort)] // without the ID that was put behind them
	}
	source, _ := match.Fields[shard.SourceField].(string)
	if source == "" {
		return hit, nil
	}
	if !q.NoSource {
		hit.Source = json.RawMessage(source)
	}
	if len(q.Highlight) == 0 {
		return hit, nil
	}
	var err error
	if hit.Highlight, err = highlight(index, match, []byte(source), q.Highlight); err != nil {
		return Hit{}, fmt.Errorf("highlight document %q: %w", match.ID, err)
	}
	return hit, nil
}

// Document is what Get returns.
type Document struct {
	ID         string          `json:"_id"`
	Source     json.RawMessage `json:"_source"`
	Generation uint64          `json:"generation"`
}

// Get returns a document by its ID, as the last acknowledged write left it, or ErrNotFound.
func (sh *Shard) Get(_ context.Context, id string) (Document, error) {
	b, err := sh.acquire()
	if err != nil {
		return Document{}, err
	}
	defer sh.release(b.uses)
	found, err := b.locate([]string{id})
	if err != nil {
		return Document{}, fmt.Errorf("get from shard %s: %w", sh.name, err)
	}
	at, ok := found[id]
	if !ok {
		return Document{}, fmt.Errorf("%w: %.80q in shard %s", ErrNotFound, id, sh.name)
	}
	source, err := b.source(at)
	if err != nil {
		return Document{}, fmt.Errorf("get from shard %s: %w", sh.name, err)
	}
	return Document{id, source, b.manifest.Generation}, nil
}
