package dataapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/internal/dataapi"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/settings"
)

// bleve starts its analysers once per process.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/blevesearch/bleve_index_api.AnalysisWorker"))
}

// api is a data node's handler, without a port.
type api struct {
	t       testing.TB
	handler http.Handler
	stored  *stored
}

// stored keeps settings as the topic does.
type stored struct {
	err  error
	all  []kafkaqueue.SettingVersion
	last map[string]kafkaqueue.SettingVersion
}

func (s *stored) Set(_ context.Context, key string, value []byte, by string) error {
	if s.err != nil {
		return s.err
	}
	v := kafkaqueue.SettingVersion{Key: key, Value: value, Replaced: s.last[key].Value, By: by, At: time.Unix(int64(len(s.all)), 0)}
	s.all, s.last[key] = append(s.all, v), v
	return nil
}

func (s *stored) All() map[string][]byte {
	all := map[string][]byte{}
	for key, v := range s.last {
		if v.Value != nil {
			all[key] = v.Value
		}
	}
	return all
}

func (s *stored) Version(key string) (kafkaqueue.SettingVersion, bool) {
	v, ok := s.last[key]
	return v, ok && v.Value != nil
}

func (s *stored) History(_ context.Context, fn func(kafkaqueue.SettingVersion) error) error {
	for _, v := range s.all {
		if err := fn(v); err != nil {
			return err
		}
	}
	return s.err
}

func serve(t testing.TB, change func(*datanode.Config)) *api {
	t.Helper()
	return serveWith(t, change, func(*dataapi.Config) {})
}

func serveWith(t testing.TB, change func(*datanode.Config), handler func(*dataapi.Config)) *api {
	t.Helper()
	cfg := datanode.Config{Name: "data-1", Store: remotestore.NewMemory(), Dir: t.TempDir(), Refresh: time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	n, err := datanode.Open(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, n.Close())
	})
	store := &stored{last: map[string]kafkaqueue.SettingVersion{}}
	var values *settings.Values
	values, err = settings.New(settings.Config{
		Definitions: datanode.Definitions(), Configured: n.Offline().Configured(), Changed: func() { require.NoError(t, n.Follow(values)) },
	})
	require.NoError(t, err)
	surface := dataapi.Config{
		Node: n, Settings: values, Stored: store, Hosts: []string{"data.internal"},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") }),
		Ready:   func(context.Context) error { return errors.New("the store does not answer") },
	}
	handler(&surface)
	return &api{t, dataapi.New(surface), store}
}

// ask sends a request and returns status and body.
func (a *api) ask(method, path, body string, header ...string) (int, string) {
	a.t.Helper()
	r := httptest.NewRequestWithContext(a.t.Context(), method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:9470"
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// does asks for what must succeed and reads the answer.
func (a *api) does(method, path, body string) map[string]any {
	a.t.Helper()
	status, text := a.ask(method, path, body)
	require.Less(a.t, status, 300, text)
	var answer map[string]any
	require.NoError(a.t, json.Unmarshal([]byte(text), &answer), text)
	return answer
}

const bulk = `{"index":{"_id":"1"}}
{"title":"blue moon","kind":"poem","price":3}

{"create":{"_id":"2","_index":"books/0"}}
{"title":"red moon","kind":"novel","price":9}
{"update":{"_id":"1"}}
{"doc":{"price":4}}
{"update":{"_id":"9"}}
{"doc":{"price":4},"doc_as_upsert":true}
{"delete":{"_id":"9"}}
`

const fields = `{"fields":{"title":"text","kind":"keyword","price":"number","born.at":"date"}}`

func TestAShardsLife(t *testing.T) {
	a := serve(t, nil)
	status, body := a.ask("PUT", "/shards/books%2F0", fields)
	require.Equal(t, http.StatusCreated, status, body)
	require.JSONEq(t, `{"shard":"books/0","created":true,"generation":2}`, body)
	status, _ = a.ask("PUT", "/shards/books%2F0", fields)
	require.Equal(t, http.StatusOK, status)
	status, body = a.ask("PUT", "/shards/books%2F0", `{"fields":{"title":"keyword"}}`)
	require.Equal(t, http.StatusConflict, status, body)

	status, body = a.ask("POST", "/shards/books%2F0/_bulk?refresh=wait_for", bulk)
	require.Equal(t, http.StatusOK, status)
	var done map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &done))
	delete(done, "took")
	left, err := json.Marshal(done)
	require.NoError(t, err)
	require.JSONEq(t, `{"errors":false,"generation":3,"items":[
		{"index":{"_id":"1","status":201,"result":"created"}}, {"create":{"_id":"2","status":201,"result":"created"}},
		{"update":{"_id":"1","status":200,"result":"updated"}}, {"update":{"_id":"9","status":201,"result":"created"}},
		{"delete":{"_id":"9","status":200,"result":"deleted"}}]}`, string(left))

	status, body = a.ask("GET", "/shards/books%2F0/docs/1", "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"_id":"1","_source":{"title":"blue moon","kind":"poem","price":4},"generation":3}`, body)

	found := a.does("POST", "/shards/books%2F0/_search", `{"match":{"title":"moon"},"sort":["-price"],"highlight":["title"],
		"facets":{"kinds":{"field":"kind","size":5},"prices":{"field":"price","size":2,"numeric_ranges":[{"name":"low","max":5},{"name":"high","min":5}]}}}`)
	hits := found["hits"].(map[string]any)
	require.EqualValues(t, 2, hits["total"])
	first := hits["hits"].([]any)[0].(map[string]any)
	require.Equal(t, "2", first["_id"])
	require.Equal(t, []any{"9"}, first["sort"])
	require.Equal(t, map[string]any{"title": []any{"red <mark>moon</mark>"}}, first["highlight"])
	require.Len(t, found["facets"].(map[string]any)["kinds"].(map[string]any)["terms"], 2)
	require.Len(t, found["facets"].(map[string]any)["prices"].(map[string]any)["numeric_ranges"], 2)

	got := a.does("GET", "/shards/books%2F0/_search?q=blue&size=1&from=0&sort=_id&highlight=true", "")
	require.EqualValues(t, 1, got["hits"].(map[string]any)["total"])
	require.EqualValues(t, 2, a.does("POST", "/shards/books%2F0/_search", "")["hits"].(map[string]any)["total"])

	status, body = a.ask("PUT", "/shards/books%2F0/docs/a%2Fb?refresh=true", `{"title":"slash"}`)
	require.Equal(t, http.StatusCreated, status, body)
	require.Equal(t, "slash", a.does("GET", "/shards/books%2F0/docs/a%2Fb", "")["_source"].(map[string]any)["title"])
	status, _ = a.ask("DELETE", "/shards/books%2F0/docs/a%2Fb?refresh", "")
	require.Equal(t, http.StatusOK, status)
	status, _ = a.ask("DELETE", "/shards/books%2F0/docs/a%2Fb", "")
	require.Equal(t, http.StatusNotFound, status)

	stats := a.does("GET", "/shards/books%2F0/_stats", "")
	require.EqualValues(t, 2, stats["docs"])
	require.Len(t, a.does("GET", "/shards", "")["shards"], 1)
	require.Contains(t, a.does("POST", "/shards/books%2F0/_refresh", ""), "generation")

	require.Equal(t, map[string]any{"shard": "books/0", "purged": true}, a.does("DELETE", "/shards/books%2F0?purge=true", ""))
	status, _ = a.ask("GET", "/shards/books%2F0/_stats", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestMerges(t *testing.T) {
	a := serve(t, nil)
	a.does("PUT", "/shards/books", "")
	for range 3 {
		a.does("POST", "/shards/books/_bulk", `{"index":{}}`+"\n"+`{"title":"moon"}`)
	}
	planned := a.does("POST", "/shards/books/_merge?max_segments=1", "")["planned"].([]any)
	require.Len(t, planned, 1)
	require.Eventually(t, func() bool {
		return a.does("GET", "/shards/books/_stats", "")["segments"].(float64) == 1
	}, time.Minute, time.Millisecond)
	require.Eventually(t, func() bool {
		all := a.does("GET", "/shards/books/_merges", "")
		m := all["merges"].([]any)[0].(map[string]any)
		return all["mode"] == "auto" && m["where"] == "local" && m["status"] == "committed" && m["id"] == planned[0].(map[string]any)["id"] &&
			m["reason"] == "asked for by force merge; this node has no task queue"
	}, time.Minute, time.Millisecond)
	require.Empty(t, a.does("POST", "/shards/books/_merge?expunge=true", "")["planned"])
	require.Empty(t, a.does("POST", "/shards/books/_merge", "")["planned"])
}

func TestSettings(t *testing.T) {
	a := serve(t, func(cfg *datanode.Config) { cfg.Offline.MinBytes = 7 })
	shown := func(answer map[string]any, key string) map[string]any {
		for _, s := range answer["settings"].([]any) {
			if s := s.(map[string]any); s["key"] == key {
				return s
			}
		}
		return nil
	}
	all := a.does("GET", "/settings", "")
	require.Equal(t, "default", shown(all, "offline.merge")["source"])
	require.Equal(t, "7", shown(all, "offline.min_bytes")["value"])
	require.Equal(t, "configured", shown(all, "offline.min_bytes")["source"])
	require.Contains(t, shown(all, "local.merge_rate")["description"], "bytes per second")

	all = a.does("PUT", "/settings", `{"offline.merge":"always","offline.min_bytes":5,"offline.max_queue_age":"3m"}`)
	require.Equal(t, "always", shown(all, "offline.merge")["value"])
	require.Equal(t, "192.0.2.1 by way of data-1", shown(all, "offline.merge")["by"])

	// All of a change are checked before any is stored.
	status, _ := a.ask("PUT", "/settings", `{"offline.merge":"off","offline.max_queue_depth":0}`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Len(t, a.stored.all, 3)

	require.NoError(t, a.stored.Set(t.Context(), "schedule/nightly", []byte("{}"), "cron"))
	require.Equal(t, map[string]any{"key": "schedule/nightly", "value": "{}", "source": "stored", "by": "cron", "at": "1970-01-01T00:00:03Z"},
		shown(a.does("GET", "/settings", ""), "schedule/nightly"))
	all = a.does("PUT", "/settings", `{"offline.min_bytes":null,"schedule/nightly":null}`)
	require.Equal(t, "configured", shown(all, "offline.min_bytes")["source"])
	require.Nil(t, shown(all, "schedule/nightly"))
	history := a.does("GET", "/settings/_history?key=offline.min_bytes", "")["history"].([]any)
	require.Len(t, history, 2)
	require.Nil(t, history[0].(map[string]any)["value"])
	require.Equal(t, "5", history[0].(map[string]any)["replaced"])
	require.Len(t, a.does("GET", "/settings/_history", "")["history"], 6)

	all = a.does("PUT", "/settings?here", `{"offline.merge":"off"}`)
	require.Equal(t, "override", shown(all, "offline.merge")["source"])
	require.Len(t, a.stored.all, 6)
	a.does("PUT", "/shards/books", "")
	require.Equal(t, "off", a.does("GET", "/shards/books/_merges", "")["mode"])

	a.stored.err = errors.New("kafka does not answer")
	status, body := a.ask("PUT", "/settings", `{"offline.merge":"off"}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "?here=true")
}

func TestABulkNamesItsBadLinesAndGoesOn(t *testing.T) {
	a := serve(t, nil)
	a.does("PUT", "/shards/books", "")
	status, body := a.ask("POST", "/shards/books/_bulk", `{"index":{"_id":"1"}}
{"title":"good"}
not an action
{"title":"skipped, for the line before is no action"}
{"index":{"_id":"2","_index":"others"}}
{"title":"elsewhere"}
{"create":{"_id":"1"}}
{"title":"taken"}
{"index":{"_id":"3"}}
[1]
{"update":{"_id":"1"}}
{"script":"x"}
{"update":{"_id":"4"}}
{"doc":{}}
{"update":{}}
{"doc":{}}
{"delete":{"_id":"5"}}
{"reindex":{"_id":"6"}}
{"index":{"_id":7}}
{"title":"ids are strings"}
{"index":{"_id":"8"}}
{"title":"good"}
{"index":{"_id":"9"}}`)
	require.Equal(t, http.StatusOK, status, body)
	var done struct {
		Errors bool
		Items  []map[string]struct {
			ID     string `json:"_id"`
			Status int
			Line   int
			Error  *struct{ Type, Reason string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &done))
	require.True(t, done.Errors)
	type line struct {
		name         string
		status, line int
	}
	var got []line
	for _, item := range done.Items {
		for name, i := range item {
			got = append(got, line{name, i.Status, i.Line})
			require.Equal(t, i.Line > 0, i.Error != nil)
		}
	}
	require.Equal(t, []line{
		{"index", 201, 0},
		{"invalid", 400, 3},
		{"index", 400, 5},
		{"create", 409, 7},
		{"index", 400, 9},
		{"update", 400, 11},
		{"update", 404, 13},
		{"update", 400, 15},
		{"delete", 404, 0},
		{"invalid", 400, 18},
		{"index", 400, 19},
		{"index", 201, 0},
		{"index", 400, 23},
	}, got)
	require.EqualValues(t, 2, a.does("GET", "/shards/books/_stats", "")["docs"])
}

func TestWhatIsRefused(t *testing.T) {
	a := serve(t, func(c *datanode.Config) {
		c.Limits = datanode.Limits{Segments: 1, SegmentsWait: time.Millisecond}
		c.Offline.Merge = datanode.Off
	})
	a.does("PUT", "/shards/empty", "")
	a.does("PUT", "/shards/books", "")
	a.does("POST", "/shards/books/_bulk", `{"index":{"_id":"1"}}`+"\n"+`{}`)
	for _, c := range []struct {
		method, path, body string
		status             int
		kind               string
	}{
		{"GET", "/nowhere", "", 404, "not_found"},
		{"GET", "/shards/none/_stats", "", 404, "not_found"},
		{"GET", "/shards/books/docs/none", "", 404, "not_found"},
		{"PUT", "/shards/..%2Fx", "", 400, "bad_request"},
		{"PUT", "/shards/x", `{"fields":{"a":"float"}}`, 400, "bad_request"},
		{"PUT", "/shards/x", `{"fields":{"_a":"text"}}`, 400, "bad_request"},
		{"PUT", "/shards/x", `{"fields":{"a":"text"},"mapping":{}}`, 400, "bad_request"},
		{"PUT", "/shards/x", `{"mapping":{"default_analyzer":"klingon"}}`, 400, "bad_request"},
		{"PUT", "/shards/x", `{"typo":1}`, 400, "bad_request"},
		{"PUT", "/shards/x", `{} {}`, 400, "bad_request"},
		{"POST", "/shards/books/_bulk", "\n\n", 400, "bad_request"},
		{"POST", "/shards/books/_bulk?refresh=maybe", "x", 400, "bad_request"},
		{"POST", "/shards/books/_bulk", `{"index":{"_id":"2"}}` + "\n" + `{}`, 429, "busy"},
		{"POST", "/shards/books/_bulk", strings.Repeat(" ", dataapi.MaxBulkBytes+1), 413, "too_large"},
		{"PUT", "/shards/empty/docs/1", `{`, 400, "bad_request"},
		{"POST", "/shards/books/_search", `{"q":"\"unclosed"}`, 400, "bad_request"},
		{"POST", "/shards/books/_search", `{"highlight":3}`, 400, "bad_request"},
		{"POST", "/shards/books/_search", strings.Repeat(" ", dataapi.MaxBodyBytes+1), 413, "too_large"},
		{"GET", "/shards/books/_search?size=many", "", 400, "bad_request"},
		{"GET", "/shards/books/_search?query=x", "", 400, "bad_request"},
		{"GET", "/shards?repository=true", "", 400, "bad_request"},
		{"POST", "/snapshots/monday?repository=true", "", 400, "bad_request"},
		{"POST", "/shards/books/_merge", `{"max_segments":1}`, 400, "bad_request"},
		{"POST", "/shards/books/_merge?max_segment=1", "", 400, "bad_request"},
		{"GET", "/shards/books/_search?size=many&highlight", "", 400, "bad_request"},
		{"GET", "/shards/books/_search?size=1&from=9223372036854775807", "", 400, "bad_request"},
		{"GET", "/shards/books/_search?size=10001", "", 400, "bad_request"},
		{"POST", "/shards/books/_merge?max_segments=0", "", 400, "bad_request"},
		{"POST", "/shards/books/_merge?max_segments=1&expunge", "", 400, "bad_request"},
		{"DELETE", "/shards/books?purge=perhaps", "", 400, "bad_request"},
		{"PUT", "/settings", `{"offline.merge":"perhaps"}`, 400, "bad_request"},
		{"PUT", "/settings", `{"offline.max_queue_age":"3"}`, 400, "bad_request"},
		{"PUT", "/settings", `{"offline.merges":"off"}`, 400, "bad_request"},
		{"PUT", "/settings", `{"offline.merge":{}}`, 400, "bad_request"},
		{"PUT", "/settings?here=perhaps", `{"offline.merge":"off"}`, 400, "bad_request"},
		{"PUT", "/settings", `{"offline.min_bytes":-3}`, 400, "bad_request"},
	} {
		status, body := a.ask(c.method, c.path, c.body)
		require.Equal(t, c.status, status, "%s %s %.80s: %s", c.method, c.path, c.body, body)
		var answer struct {
			Error struct{ Type, Reason string }
		}
		require.NoError(t, json.Unmarshal([]byte(body), &answer), body)
		require.Equal(t, c.kind, answer.Error.Type, "%s %s: %s", c.method, c.path, body)
		require.NotEmpty(t, answer.Error.Reason)
	}
}

func TestHealthAndWhoMayAsk(t *testing.T) {
	a := serve(t, nil)
	status, _ := a.ask("GET", "/healthz", "")
	require.Equal(t, http.StatusOK, status)
	status, body := a.ask("GET", "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "the store does not answer")
	_, body = a.ask("GET", "/metrics", "")
	require.Equal(t, "metrics", body)
	for host, want := range map[string]int{
		"localhost:1": 200, "data.internal": 200, "[::1]:9470": 200, "10.0.0.1": 200, "rebound.example": 421, "localhost.example": 421,
	} {
		status, _ := a.ask("GET", "/shards", "", "Host", host)
		require.Equal(t, want, status, host)
	}
	status, _ = a.ask("POST", "/shards/x/_bulk", "", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, status, "a page of another site writes nothing")
}
