package life

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/test/battery"
)

var (
	words   = battery.Words
	queries = battery.Queries()
)

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
	answers := make([]string, len(queries))
	for i, q := range queries {
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
