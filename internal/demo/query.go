package demo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// search is a query, and the answer that it must have.
type search struct {
	kind string // term, phrase, prefix …, for people
	body []byte
	want *answer // nil: whatever is found is right
}

// answer is what must be equal before and after: the number of hits, the first
// of them in their order, and the counts of the facets.
type answer struct {
	Total  uint64           `json:"total"`
	IDs    []string         `json:"ids"`
	Facets map[string]facet `json:"facets,omitempty"`
}

func answerOf(f found) answer {
	a := answer{Total: f.Hits.Total, IDs: make([]string, 0, len(f.Hits.Hits)), Facets: f.Facets}
	for _, h := range f.Hits.Hits {
		a.IDs = append(a.IDs, h.ID)
	}
	for _, f := range a.Facets {
		slices.SortFunc(f.Terms, func(a, b termCount) int { // those with equal counts have no order
			if a.Count != b.Count {
				return b.Count - a.Count
			}
			return strings.Compare(a.Term, b.Term)
		})
	}
	return a
}

// differs says what is not as it was; empty: nothing.
func (a answer) differs(b answer) string {
	switch {
	case a.Total != b.Total:
		return fmt.Sprintf("%d hits, now %d", a.Total, b.Total)
	case !slices.Equal(a.IDs, b.IDs):
		return "the same number of hits, but others or in another order"
	}
	before, _ := json.Marshal(a.Facets) // maps are encoded in the order of their keys
	now, _ := json.Marshal(b.Facets)
	if string(before) != string(now) {
		return "the same hits, but other facets"
	}
	return ""
}

// object is JSON.
type object = map[string]any

func term(field, value string) object { return object{"term": value, "field": field} }
func words(field, text string) object {
	return object{"match": text, "field": field, "operator": "and"}
}
func phrase(field, text string) object  { return object{"match_phrase": text, "field": field} }
func prefix(field, start string) object { return object{"prefix": start, "field": field} }
func both(queries ...object) object     { return object{"conjuncts": queries} }

func between(field string, least, most int) object {
	return object{"min": least, "max": most, "inclusive_min": true, "inclusive_max": true, "field": field}
}

func boolean(must, should, mustNot []object) object {
	q := object{"must": object{"conjuncts": must}}
	if len(should) > 0 {
		q["should"] = object{"disjuncts": should, "min": 1}
	}
	if len(mustNot) > 0 {
		q["must_not"] = object{"disjuncts": mustNot, "min": 1}
	}
	return q
}
