package dataapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// inbox is a queue that only takes tasks.
type inbox struct {
	datanode.Queue
	id, typ string
	params  reindex.Params
	err     error
}

func (q *inbox) Submit(_ context.Context, id, typ string, params any) error {
	q.id, q.typ, q.params = id, typ, params.(reindex.Params)
	return q.err
}

func (q *inbox) Listen(ctx context.Context, _ func(context.Context, task.Event) error) error {
	<-ctx.Done()
	return nil
}

func TestReindexOverHTTP(t *testing.T) {
	q := &inbox{}
	a := serve(t, func(c *datanode.Config) { c.Queue, c.Offline.Merge = q, datanode.Off })
	status, body := a.ask("PUT", "/shards/books", "{}")
	require.Equal(t, http.StatusCreated, status, body)

	status, body = a.ask("POST", "/shards/books/reindex", `{"target":"books-2","fields":{"title":"keyword"},"query":"title:moon",
		"transform":[{"op":"remove","field":"draft"}],"slices":4,"conflicts":"proceed","rate":100}`)
	require.Equal(t, http.StatusAccepted, status, body)
	var answer struct{ Task string }
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	require.Equal(t, q.id, answer.Task)
	require.Equal(t, reindex.Type, q.typ)
	require.Contains(t, string(q.params.Mapping), `"keyword"`)
	q.params.Mapping = nil
	require.Equal(t, reindex.Params{
		Source: "books", Target: "books-2", Query: "title:moon", Transform: reindex.Transform{{Op: "remove", Field: "draft"}},
		Slices: 4, Conflicts: reindex.Proceed, Rate: 100,
	}, q.params)

	status, body = a.ask("POST", "/shards/books/reindex", "")
	require.Equal(t, http.StatusAccepted, status, body)
	require.Equal(t, reindex.Params{Source: "books", Target: "books"}, q.params, "in place")

	for _, bad := range []string{
		`{"query":"title:moon"}`, `{"target":"books-2","query":"title:\"moon"}`, `{"target":"books-2","transform":[{"op":"eval"}]}`,
		`{"slices":1000}`, `{"target":"_x"}`, `{"mapping":{"default_analyzer":"none"}}`, `{"mapping":{},"fields":{"a":"text"}}`, `{"sclices":1}`,
	} {
		status, body := a.ask("POST", "/shards/books/reindex", bad)
		require.Equal(t, http.StatusBadRequest, status, "%s: %s", bad, body)
	}
	status, _ = a.ask("POST", "/shards/none/reindex", "")
	require.Equal(t, http.StatusNotFound, status)

	q.err = errors.New("Kafka is away")
	status, body = a.ask("POST", "/shards/books/reindex", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "queue_unavailable")
	q.err = datanode.ErrUnknown
	_, body = a.ask("POST", "/shards/books/reindex", "")
	require.Contains(t, body, "outcome_unknown")
}
