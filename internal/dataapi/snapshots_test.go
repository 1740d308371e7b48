package dataapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/dataapi"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
)

// tasks runs what is submitted to it, when it is told to.
type tasks struct {
	mux *task.Mux

	mu    sync.Mutex
	state map[string]datanode.TaskState
	run   map[string]func(context.Context) tasktest.Result
}

func (q *tasks) Submit(_ context.Context, id, typ string, params any) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state[id] = datanode.TaskState{Status: task.Active, Fraction: 0.4, Note: "1 of 2 children have ended", Attempt: 1}
	q.run[id] = func(ctx context.Context) tasktest.Result {
		return tasktest.Run(ctx, q.mux, typ, params, tasktest.ID(id), tasktest.Children(func(child task.Submission) *task.ChildState {
			r := tasktest.Run(ctx, q.mux, child.Type, child.Params, tasktest.ID(child.ID))
			if r.Outcome != tasktest.Success {
				return &task.ChildState{Status: task.Failed, Error: r.Err.Error()}
			}
			return &task.ChildState{Status: task.Success, Result: r.Report.Result}
		}))
	}
	return nil
}

func (q *tasks) State(_ context.Context, id string) (*datanode.TaskState, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s, ok := q.state[id]
	if !ok {
		return nil, nil
	}
	return &s, nil
}

// work runs a task up to where it waits, and if all is set to its end.
func (q *tasks) work(t *testing.T, id string, all bool) {
	t.Helper()
	r := q.run[id](t.Context())
	for all && r.Outcome == tasktest.Waiting {
		r = r.Again(t.Context())
	}
	require.Contains(t, []tasktest.Outcome{tasktest.Waiting, tasktest.Success}, r.Outcome, "%v", r.Err)
	if r.Outcome == tasktest.Success {
		q.state[id] = datanode.TaskState{Status: task.Success, Fraction: 1, Attempt: 1}
	}
}

func TestSnapshotsOverHTTP(t *testing.T) {
	store, repository := remotestore.NewMemory(), remotestore.NewMemory()
	q := &tasks{mux: task.NewMux(), state: map[string]datanode.TaskState{}, run: map[string]func(context.Context) tasktest.Result{}}
	require.NoError(t, snapshot.Register(q.mux, snapshot.Config{Store: store, Repository: repository, Scratch: t.TempDir()}))
	a := serveWith(t, func(c *datanode.Config) { c.Store, c.Poll = store, 10*time.Millisecond }, func(c *dataapi.Config) {
		c.Snapshots = dataapi.Snapshots{Store: store, Repository: repository, Tasks: q}
	})
	for _, name := range []string{"books%2F0", "films"} {
		a.does("PUT", "/shards/"+name, "")
		a.does("PUT", "/shards/"+name+"/docs/1", `{"title":"moon"}`)
	}
	require.Empty(t, a.does("GET", "/snapshots", "")["snapshots"])

	for _, where := range []string{"", "?repository=true"} {
		body := `{}`
		if where != "" {
			body = `{"repository":true,"shards":["books/0"]}`
		}
		taken := a.does("POST", "/snapshots/monday", body)
		id := taken["task"].(string)
		require.Equal(t, "monday", taken["snapshot"])
		q.work(t, id, false)
		q.state[snapshot.ChildTask(id, "books/0")] = datanode.TaskState{Status: task.Active, Fraction: 0.9, Note: "copy", Node: "node-1"}
		shown := a.does("GET", "/snapshots/monday"+where, "")
		require.Equal(t, false, shown["complete"])
		require.Equal(t, "ACTIVE", shown["state"].(map[string]any)["status"])
		require.InDelta(t, map[string]float64{"": 0.45, "?repository=true": 0.9}[where], shown["state"].(map[string]any)["progress"], 1e-9)
		require.Equal(t, "copy", shown["parts"].(map[string]any)["books/0"].(map[string]any)["note"])
		status, text := a.ask("DELETE", "/snapshots/monday"+where, "")
		require.Equal(t, http.StatusConflict, status, text)
		require.Contains(t, text, id)
		status, text = a.ask("POST", "/snapshots/monday/restore", `{"repository":`+map[string]string{"": "false", "?repository=true": "true"}[where]+`}`)
		require.Equal(t, http.StatusConflict, status, text)

		q.work(t, id, true)
		shown = a.does("GET", "/snapshots/monday"+where, "")
		require.Equal(t, true, shown["complete"])
		require.NotContains(t, shown, "state")
		require.Len(t, a.does("GET", "/snapshots"+where, "")["snapshots"], 1)
		status, text = a.ask("POST", "/snapshots/monday", body)
		require.Equal(t, http.StatusConflict, status, text)
	}

	a.does("PUT", "/shards/films/docs/1?refresh=true", `{"title":"sun"}`)
	id := a.does("POST", "/snapshots/monday/restore", `{"shards":[{"shard":"films"},{"shard":"books/0","as":"copy"}],"force":true}`)["task"].(string)
	require.Equal(t, "ACTIVE", a.does("GET", "/snapshots/monday/restore/"+id, "")["status"])
	q.work(t, id, true)
	require.Equal(t, "SUCCESS", a.does("GET", "/snapshots/monday/restore/"+id, "")["status"])
	require.Eventually(t, func() bool {
		return a.does("GET", "/shards/films/docs/1", "")["_source"].(map[string]any)["title"] == "moon"
	}, time.Minute, time.Millisecond)
	a.does("PUT", "/shards/copy", "")
	require.Equal(t, "moon", a.does("GET", "/shards/copy/docs/1", "")["_source"].(map[string]any)["title"])

	require.NotZero(t, a.does("DELETE", "/snapshots/monday?repository=true", "")["freed"])
	require.Zero(t, a.does("DELETE", "/snapshots/monday", "")["freed"])
	for _, c := range []struct {
		method, path, body string
		status             int
		kind               string
	}{
		{"GET", "/snapshots/monday", "", 404, "not_found"},
		{"DELETE", "/snapshots/monday", "", 404, "not_found"},
		{"POST", "/snapshots/monday/restore", "", 404, "not_found"},
		{"GET", "/snapshots/monday/restore/none", "", 404, "not_found"},
		{"GET", "/snapshots/.x", "", 400, "bad_request"},
		{"POST", "/snapshots/a%2Fb", "", 400, "bad_request"},
		{"POST", "/snapshots/x", `{"shards":["a","a"]}`, 400, "bad_request"},
		{"POST", "/snapshots/x", `{"shard":"a"}`, 400, "bad_request"},
		{"GET", "/snapshots?repository=maybe", "", 400, "bad_request"},
	} {
		status, text := a.ask(c.method, c.path, c.body)
		require.Equal(t, c.status, status, "%s %s: %s", c.method, c.path, text)
		var answer struct{ Error struct{ Type string } }
		require.NoError(t, json.Unmarshal([]byte(text), &answer))
		require.Equal(t, c.kind, answer.Error.Type, text)
	}
}

func TestSnapshotsWithoutARepositoryOrAQueue(t *testing.T) {
	store := remotestore.NewMemory()
	a := serveWith(t, func(c *datanode.Config) { c.Store = store }, func(c *dataapi.Config) { c.Snapshots = dataapi.Snapshots{Store: store} })
	a.does("PUT", "/shards/books", "")
	status, text := a.ask("POST", "/snapshots/x", "")
	require.Equal(t, http.StatusServiceUnavailable, status, text)
	require.Contains(t, text, "no_task_queue")
	status, text = a.ask("GET", "/snapshots?repository", "")
	require.Equal(t, http.StatusBadRequest, status, text)
	require.NoError(t, store.Create(t.Context(), "_snapshot/bad/snapshot.json", []byte("cut")))
	status, text = a.ask("GET", "/snapshots/bad", "")
	require.Equal(t, http.StatusInternalServerError, status, text)
	require.Contains(t, text, "_snapshot/bad/snapshot.json")
	a.does("DELETE", "/snapshots/bad", "")
	require.Empty(t, a.does("GET", "/snapshots", "")["snapshots"])
}
