package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// dataNode asks a data node over HTTP. It is safe for concurrent use.
type dataNode struct {
	base  string // http://host:port
	shard string
	http  *http.Client
}

func newDataNode(addr, shard string) *dataNode {
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	return &dataNode{base: "http://" + addr, shard: shard, http: &http.Client{Transport: transport}}
}

// statusError is an answer that is not 200.
type statusError struct {
	status int
	kind   string
	reason string
	after  time.Duration // when to try again, if it says so
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the data node answers %d %s: %s", e.status, e.kind, e.reason)
}

// again tells whether the same request may succeed later: too much is waiting,
// or the store is away.
func (e *statusError) again() bool {
	switch e.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// ask sends a request with a JSON body, or none, and decodes the answer.
func (d *dataNode) ask(ctx context.Context, method, path string, body []byte, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := d.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return refusal(response, text)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: answer: %w", method, path, err)
	}
	return nil
}

func refusal(response *http.Response, text []byte) error {
	var told struct {
		Error struct{ Type, Reason string }
	}
	e := &statusError{status: response.StatusCode, reason: cut(string(bytes.TrimSpace(text)), 300)}
	if json.Unmarshal(text, &told) == nil && told.Error.Type != "" {
		e.kind, e.reason = told.Error.Type, told.Error.Reason
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		e.after = time.Duration(seconds) * time.Second
	}
	return e
}

// path is that of something of the shard.
func (d *dataNode) path(rest string) string {
	return "/shards/" + url.PathEscape(d.shard) + rest
}

// fields are how documents are indexed.
var fields = map[string]string{
	"package": "keyword", "kind": "keyword", "set": "keyword", "name": "text", "doc": "text", "code": "text",
	"lines": "number", "bytes": "number", "seq": "number", "rev": "number",
}

func (d *dataNode) create(ctx context.Context) error {
	body, err := json.Marshal(map[string]any{"fields": fields})
	if err != nil {
		return err
	}
	return d.ask(ctx, http.MethodPut, d.path(""), body, nil)
}

// ready tells whether it serves.
func (d *dataNode) ready(ctx context.Context) error {
	return d.ask(ctx, http.MethodGet, "/healthz", nil, nil)
}

// bulkAnswer is what became of a bulk, write by write.
type bulkAnswer struct {
	Generation uint64                `json:"generation"`
	Items      []map[string]bulkItem `json:"items"`
}

type bulkItem struct {
	ID     string `json:"_id"`
	Status int    `json:"status"`
	Result string `json:"result"`
	Error  *struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	} `json:"error"`
}

func (d *dataNode) bulk(ctx context.Context, body []byte) (bulkAnswer, error) {
	var answer bulkAnswer
	err := d.ask(ctx, http.MethodPost, d.path("/_bulk"), body, &answer)
	return answer, err
}

// refresh makes everything that was written searchable.
func (d *dataNode) refresh(ctx context.Context) error {
	return d.ask(ctx, http.MethodPost, d.path("/_refresh"), nil, nil)
}

// found is the answer to a search.
type found struct {
	Generation uint64 `json:"generation"`
	Segments   int    `json:"segments"`
	Hits       struct {
		Total uint64 `json:"total"`
		Hits  []hit  `json:"hits"`
	} `json:"hits"`
	Facets map[string]facet `json:"facets"`
}

type hit struct {
	ID     string          `json:"_id"`
	Source json.RawMessage `json:"_source"`
}

type facet struct {
	Total   int         `json:"total"`
	Missing int         `json:"missing"`
	Other   int         `json:"other"`
	Terms   []termCount `json:"terms"`
}

type termCount struct {
	Term  string `json:"term"`
	Count int    `json:"count"`
}

func (d *dataNode) search(ctx context.Context, body []byte) (found, error) {
	var answer found
	err := d.ask(ctx, http.MethodPost, d.path("/_search"), body, &answer)
	return answer, err
}

// stats is what a shard is made of.
type stats struct {
	Generation uint64 `json:"generation"`
	Searchable uint64 `json:"searchable_generation"`
	Docs       uint64 `json:"docs"`
	Deleted    uint64 `json:"deleted"`
	Segments   int    `json:"segments"`
	Bytes      int64  `json:"bytes"`
	Merges     struct {
		Local        int   `json:"local"`
		Offline      int   `json:"offline"`
		OfflineBytes int64 `json:"offline_bytes"`
	} `json:"merges"`
}

func (d *dataNode) stats(ctx context.Context) (stats, error) {
	var answer stats
	err := d.ask(ctx, http.MethodGet, d.path("/_stats"), nil, &answer)
	return answer, err
}

// mergeState is where a merge stands, as the data node sees it.
type mergeState struct {
	ID       string    `json:"id"`
	Where    string    `json:"where"` // local or offline
	Status   string    `json:"status"`
	Inputs   []uint64  `json:"inputs"`
	Bytes    int64     `json:"bytes"`
	Docs     uint64    `json:"docs"`
	Progress float64   `json:"progress"`
	Note     string    `json:"note"`
	Node     string    `json:"node"`
	Attempt  int       `json:"attempt"`
	Error    string    `json:"error"`
	EndedAt  time.Time `json:"ended_at"`
}

func (m *mergeState) underWay() bool { return m.Status == "waiting" || m.Status == "running" }

func (d *dataNode) merges(ctx context.Context) ([]mergeState, error) {
	var answer struct {
		Merges []mergeState `json:"merges"`
	}
	err := d.ask(ctx, http.MethodGet, d.path("/_merges"), nil, &answer)
	return answer.Merges, err
}

// forceMerge plans merges until that many segments are left.
func (d *dataNode) forceMerge(ctx context.Context, segments int) ([]mergeState, error) {
	var answer struct {
		Planned []mergeState `json:"planned"`
	}
	err := d.ask(ctx, http.MethodPost, d.path(fmt.Sprintf("/_merge?max_segments=%d", segments)), nil, &answer)
	return answer.Planned, err
}

// mergeWhere says where merges run from now on: off, auto or always.
func (d *dataNode) mergeWhere(ctx context.Context, mode string) error {
	body, err := json.Marshal(map[string]string{"offline.merge": mode})
	if err != nil {
		return err
	}
	return d.ask(ctx, http.MethodPut, "/settings?here=true", body, nil)
}
