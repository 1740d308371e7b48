package life

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
)

var words = []string{"blue", "red", "moon", "sun", "sea", "deep", "sky", "stone"}

// battery is queries of every kind. All are sorted by what the documents hold: scores count documents that are deleted but not
// yet merged away.
var battery = makeBattery()

func makeBattery() []datanode.Query {
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
	for _, w := range words {
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

// answer is what must not depend on how documents came into a shard.
func (w *world) answer(sh *datanode.Shard, q datanode.Query) string {
	if q.Size == 0 {
		q.Size = 100
	}
	f, err := sh.Search(w.t.Context(), q)
	require.NoError(w.t, err, "%+v", q)
	hits := slices.Clone(f.Hits)
	for i := range hits {
		hits[i].Score = 0
		if len(hits[i].Source) > 0 {
			hits[i].Source = json.RawMessage(canonical(hits[i].Source))
		}
	}
	text, err := json.MarshalIndent(map[string]any{"total": f.Total, "hits": hits, "facets": f.Facets}, "", " ")
	require.NoError(w.t, err)
	return string(text)
}

// ask returns the answers of a shard to the whole battery.
func (w *world) ask(sh *datanode.Shard) []string {
	_, err := sh.Refresh(w.t.Context())
	require.NoError(w.t, err)
	answers := make([]string, len(battery))
	for i, q := range battery {
		answers[i] = w.answer(sh, q)
	}
	return answers
}

// canonical is an object with its keys in order.
func canonical(source []byte) string {
	d := json.NewDecoder(strings.NewReader(string(source)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err) // it was accepted
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
