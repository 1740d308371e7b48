package dataapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
)

// searchRequest is the body of a search.
type searchRequest struct {
	Q         string              `json:"q"`
	Match     map[string]string   `json:"match"`
	Query     json.RawMessage     `json:"query"`
	Size      *int                `json:"size"`
	From      int                 `json:"from"`
	Sort      []string            `json:"sort"`
	Highlight highlightRequest    `json:"highlight"`
	Facets    bleve.FacetsRequest `json:"facets"`
	Source    *bool               `json:"source"`
}

// highlightRequest is true or a list of fields.
type highlightRequest []string

func (h *highlightRequest) UnmarshalJSON(raw []byte) error {
	switch string(bytes.TrimSpace(raw)) {
	case "true":
		*h = highlightRequest{"*"}
		return nil
	case "false", "null":
		*h = nil
		return nil
	}
	var fields []string
	if err := json.Unmarshal(raw, &fields); err != nil {
		return fmt.Errorf("highlight is true, false or a list of fields: %w", err)
	}
	*h = fields
	return nil
}

const defaultSize = 10

func (q searchRequest) query() datanode.Query {
	size := defaultSize
	if q.Size != nil {
		size = *q.Size
	}
	return datanode.Query{
		Text: q.Q, Match: q.Match, Raw: q.Query, Size: size, From: q.From, Sort: q.Sort,
		Highlight: q.Highlight, Facets: q.Facets, NoSource: q.Source != nil && !*q.Source,
	}
}

// searchAnswer is what a search returns.
type searchAnswer struct {
	Took       int64               `json:"took"` // ms
	Generation uint64              `json:"generation"`
	Segments   int                 `json:"segments"`
	Hits       hits                `json:"hits"`
	Facets     search.FacetResults `json:"facets,omitempty"`
}

type hits struct {
	Total    uint64         `json:"total"`
	MaxScore float64        `json:"max_score"`
	Hits     []datanode.Hit `json:"hits"`
}

func (s *server) search(r *http.Request, sh *datanode.Shard) (int, any, error) {
	began := time.Now()
	request, err := searchRequestOf(r)
	if err != nil {
		return 0, nil, err
	}
	found, err := sh.Search(r.Context(), request.query())
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, searchAnswer{
		Took: time.Since(began).Milliseconds(), Generation: found.Generation, Segments: found.Segments,
		Hits: hits{found.Total, found.MaxScore, found.Hits}, Facets: found.Facets,
	}, nil
}

// searchParameters of a search whose query is not in its body.
var searchParameters = []string{"q", "size", "from", "sort", "highlight"}

// searchRequestOf reads the body, or the parameters when there is none.
func searchRequestOf(r *http.Request) (searchRequest, error) {
	var request searchRequest
	if err := decode(r, &request); err != nil {
		return request, err
	}
	parameters := r.URL.Query()
	if parameters.Has("size") {
		size, err := number(r, "size", defaultSize)
		if err != nil {
			return request, err
		}
		request.Size = &size
	}
	if parameters.Has("from") {
		var err error
		if request.From, err = number(r, "from", 0); err != nil {
			return request, err
		}
	}
	if q := parameters.Get("q"); q != "" {
		request.Q = q
	}
	if sort := parameters.Get("sort"); sort != "" {
		request.Sort = strings.Split(sort, ",")
	}
	if parameters.Has("highlight") {
		on, err := flag(r, "highlight")
		if err != nil {
			return request, err
		}
		if on {
			request.Highlight = highlightRequest{"*"}
		}
	}
	return request, nil
}
