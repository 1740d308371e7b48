package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/test/battery"
	"github.com/offline-nodes/offline-nodes/test/fleet"
)

// shelf writes to a shard, whatever breaks meanwhile, and knows what must be in it. A bulk without an answer is sent
// again until there is one: its writes are the same the second time.
type shelf struct {
	r     *run
	shard string
	end   context.CancelFunc
	done  chan struct{}

	mu     sync.Mutex
	at     *fleet.DataNode // nil while there is none
	docs   map[string]string
	writes int
	again  int // bulks that were sent again
}

// shelve makes the shard and writes a bulk every so often until stop.
func (r *run) shelve(d *fleet.DataNode, shard string, every time.Duration) *shelf {
	r.t.Helper()
	d.Call(http.MethodPut, "/shards/"+shard, `{}`, nil)
	s := &shelf{r: r, shard: shard, at: d, docs: map[string]string{}, done: make(chan struct{})}
	ctx, end := context.WithCancel(r.t.Context())
	s.end = end
	go func() {
		defer close(s.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.write()
			case <-ctx.Done():
				return
			}
		}
	}()
	r.t.Cleanup(func() { s.stop() })
	return s
}

// moved tells which process serves the shard now; nil: none.
func (s *shelf) moved(d *fleet.DataNode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = d
}

func (s *shelf) node() *fleet.DataNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// write sends one random bulk until it is acknowledged, or the test is over.
func (s *shelf) write() {
	body, apply := s.bulk()
	for try := 0; ; try++ {
		if s.send(body) == nil {
			s.mu.Lock()
			apply(s.docs)
			s.again += min(try, 1)
			s.mu.Unlock()
			return
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-s.r.t.Context().Done():
			return
		}
	}
}

const shelfIDs = 3000

// bulk is what to write, and what that does. No document is in it twice, so the order of writes says nothing.
func (s *shelf) bulk() (body string, apply func(map[string]string)) {
	var lines bytes.Buffer
	put, gone := map[string]string{}, []string{}
	for range 1 + rand.IntN(40) {
		id := fmt.Sprint(rand.IntN(shelfIDs))
		if put[id] != "" || slices.Contains(gone, id) {
			continue
		}
		s.writes++
		if rand.IntN(4) == 0 {
			gone = append(gone, id)
			fmt.Fprintf(&lines, "{\"delete\":{\"_id\":%q}}\n", id)
			continue
		}
		put[id] = document(s.writes)
		fmt.Fprintf(&lines, "{\"index\":{\"_id\":%q}}\n%s\n", id, put[id])
	}
	return lines.String(), func(docs map[string]string) {
		maps.Copy(docs, put)
		for _, id := range gone {
			delete(docs, id)
		}
	}
}

func document(rev int) string {
	word := func() string { return battery.Words[rand.IntN(len(battery.Words))] }
	body := make([]string, 1+rand.IntN(60))
	for i := range body {
		body[i] = word()
	}
	return fmt.Sprintf(`{"body":%q,"kind":%q,"n":%d,"at":"20%d-01-02T00:00:00Z","extra":%t,"rev":%d}`,
		strings.Join(body, " "), word(), rand.IntN(20), 10+rand.IntN(5), rand.IntN(2) == 0, rev)
}

var errNobody = errors.New("no data node now")

func (s *shelf) send(body string) error {
	d := s.node()
	if d == nil {
		return errNobody
	}
	status, text, err := d.Do(http.MethodPost, "/shards/"+s.shard+"/_bulk", body)
	if err != nil {
		return err
	}
	var answer struct{ Errors bool }
	if err := json.Unmarshal(text, &answer); err != nil || status != http.StatusOK {
		return fmt.Errorf("status %d: %s", status, text)
	}
	return nil
}

// stop ends the writing and returns what must be there. It may be called again.
func (s *shelf) stop() map[string]string {
	s.end()
	<-s.done
	return s.docs
}

// compare makes sure that the shard has what was acknowledged and nothing else, and answers a battery of queries as a shard
// does that was made of those documents in one go. It returns how many documents and queries there were.
func (s *shelf) compare() (docs, queries int) {
	t, d := s.r.t, s.node()
	t.Helper()
	want := s.stop()
	d.Call(http.MethodPost, "/shards/"+s.shard+"/_refresh", "", nil)
	got := s.everything(d)
	require.Len(t, got, len(want), "documents that were deleted are back, or written ones are lost")
	for id, source := range want {
		require.JSONEq(t, source, got[id], "document %s", id)
	}

	plain := s.shard + "-plain"
	d.Call(http.MethodPut, "/shards/"+plain, `{}`, nil)
	var lines bytes.Buffer
	for _, id := range slices.Sorted(maps.Keys(want)) {
		fmt.Fprintf(&lines, "{\"index\":{\"_id\":%q}}\n%s\n", id, want[id])
	}
	d.Call(http.MethodPost, "/shards/"+plain+"/_bulk?refresh=true", lines.String(), nil)
	for _, q := range battery.Queries() {
		body := searchOf(q)
		require.Equal(t, s.answer(d, plain, body), s.answer(d, s.shard, body), body)
		queries++
	}
	return len(want), queries
}

// everything are all documents of the shard, page by page.
func (s *shelf) everything(d *fleet.DataNode) map[string]string {
	all := map[string]string{}
	const page = 1000
	for from := 0; ; from += page {
		var answer struct {
			Hits struct {
				Hits []struct {
					ID     string          `json:"_id"`
					Source json.RawMessage `json:"_source"`
				}
			}
		}
		d.Call(http.MethodPost, "/shards/"+s.shard+"/_search", fmt.Sprintf(`{"size":%d,"from":%d,"sort":["_id"]}`, page, from), &answer)
		for _, h := range answer.Hits.Hits {
			all[h.ID] = string(h.Source)
		}
		if len(answer.Hits.Hits) < page {
			return all
		}
	}
}

// searchOf is a query as it is sent.
func searchOf(q datanode.Query) string {
	body := map[string]any{"sort": q.Sort, "from": q.From, "size": 100, "source": !q.NoSource}
	if q.Size > 0 {
		body["size"] = q.Size
	}
	if q.Text != "" {
		body["q"] = q.Text
	}
	if q.Match != nil {
		body["match"] = q.Match
	}
	if len(q.Raw) > 0 {
		body["query"] = q.Raw
	}
	if q.Facets != nil {
		body["facets"] = q.Facets
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // it is made of plain values
	}
	return string(text)
}

// answer is what must not depend on how documents came into a shard: scores count deleted ones that are not yet merged away.
func (s *shelf) answer(d *fleet.DataNode, shard, body string) string {
	var answer struct {
		Hits struct {
			Total uint64
			Hits  []map[string]any
		}
		Facets any
	}
	d.Call(http.MethodPost, "/shards/"+shard+"/_search", body, &answer)
	for _, h := range answer.Hits.Hits {
		delete(h, "_score")
	}
	text, err := json.MarshalIndent(answer, "", " ")
	require.NoError(s.r.t, err)
	return string(text)
}

// merges are how many the data node has committed, and how many of them ran offline.
func (s *shelf) merges() (committed, offline int) {
	for _, m := range s.node().Merges(s.shard) {
		if m.Status == "committed" {
			committed++
			if m.Where == "offline" {
				offline++
			}
		}
	}
	return committed, offline
}
