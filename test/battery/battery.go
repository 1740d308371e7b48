// Package battery is queries of every kind for documents of one shape, to compare a shard with another that was built
// otherwise from the same documents.
package battery

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/blevesearch/bleve/v2"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
)

// Words are what documents are made of.
var Words = []string{"blue", "red", "moon", "sun", "sea", "deep", "sky", "stone"}

// Queries are of every kind. All are sorted by what the documents hold: scores count documents that are deleted but not
// yet merged away. Documents have the fields body (words), kind (a word), n (a number), at (a time) and extra (true).
func Queries() []datanode.Query {
	byID := []string{"_id"}
	var all []datanode.Query
	for i, sort := range [][]string{byID, {"-_id"}, {"n", "_id"}, {"-n", "-_id"}, {"at", "-kind", "_id"}, {"kind", "n", "_id"}} {
		all = append(all, datanode.Query{Sort: sort}, datanode.Query{Sort: sort, Size: 3, From: i})
	}
	for _, text := range []string{
		`body:"blue moon"`, `body:"deep sea"`, "+body:red -body:sun n:>3", "n:>=10", "extra:true", "kind:stone", "body:sk*", "body:moom~1", "+n:<5 +body:sea",
	} {
		all = append(all, datanode.Query{Text: text, Sort: byID, Highlight: []string{"*"}})
	}
	all = append(all,
		datanode.Query{Match: map[string]string{"body": "sea sky"}, Sort: byID},
		datanode.Query{Match: map[string]string{"body": "moon", "kind": "sun"}, Sort: []string{"-n", "_id"}})
	for _, raw := range []string{
		`{"prefix":"s","field":"body"}`, `{"prefix":"st","field":"kind"}`, `{"fuzzy":"mon","field":"body","fuzziness":1}`,
		`{"wildcard":"s*n*","field":"body"}`, `{"regexp":"(red|blue)","field":"body"}`, `{"min":2,"max":5,"field":"n"}`,
		`{"min":5,"max":15,"inclusive_min":true,"inclusive_max":true,"field":"n"}`, `{"max":3,"field":"n"}`,
		`{"start":"2012-01-01T00:00:00Z","end":"2013-06-01T00:00:00Z","field":"at"}`, `{"start":"2011-06-01T00:00:00Z","field":"at"}`,
		`{"match_phrase":"sun stone","field":"body"}`, `{"match_phrase":"red red","field":"body"}`, `{"bool":true,"field":"extra"}`,
		`{"conjuncts":[{"match":"deep","field":"body"},{"match":"stone","field":"body"}]}`,
		`{"disjuncts":[{"match":"deep","field":"body"},{"match":"sky","field":"body"},{"match":"red","field":"kind"}],"min":2}`,
		`{"must":{"conjuncts":[{"match":"moon","field":"body"}]},"must_not":{"disjuncts":[{"min":4,"field":"n"}],"min":1}}`,
		`{"ids":["1","5","9","30","77"]}`, `{"match_none":{}}`,
	} {
		all = append(all, datanode.Query{Raw: json.RawMessage(raw), Sort: byID})
	}
	for _, w := range Words {
		all = append(all, datanode.Query{Raw: json.RawMessage(fmt.Sprintf(`{"term":%q,"field":"body"}`, w)), Sort: byID, Facets: facets()})
	}
	return append(all, datanode.Query{Sort: byID, Facets: facets(), NoSource: true})
}

func facets() bleve.FacetsRequest {
	kinds, numbers, years := bleve.NewFacetRequest("kind", 20), bleve.NewFacetRequest("n", 3), bleve.NewFacetRequest("at", 3)
	three, ten := 3.0, 10.0
	numbers.AddNumericRange("low", nil, &three)
	numbers.AddNumericRange("middle", &three, &ten)
	numbers.AddNumericRange("high", &ten, nil)
	years.AddDateTimeRange("early", time.Time{}, time.Date(2012, 6, 1, 0, 0, 0, 0, time.UTC))
	years.AddDateTimeRange("late", time.Date(2012, 6, 1, 0, 0, 0, 0, time.UTC), time.Time{})
	return bleve.FacetsRequest{"kinds": kinds, "numbers": numbers, "years": years}
}
