package datanode_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// bleve starts its analysers once per process.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "20"); err != nil { // each opens nodes and syncs files; -rapid.checks=n for more
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/blevesearch/bleve_index_api.AnalysisWorker"))
}

// wait is for what must happen; tests do not depend on how long it takes.
const wait = time.Minute

// started is a node whose Run runs.
type started struct {
	*datanode.Node
	stop func()
}

// start opens and runs a node; stop, which the test calls or its end, is a graceful one.
func start(t testing.TB, cfg datanode.Config) started {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "data-1"
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Refresh == 0 {
		cfg.Refresh = time.Millisecond
	}
	if cfg.Poll == 0 {
		cfg.Poll = 50 * time.Millisecond
	}
	if cfg.Plan == nil {
		cfg.Plan = never()
	}
	if testing.Verbose() && cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	n, err := datanode.Open(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, n.Close())
	})
	t.Cleanup(stop)
	return started{n, stop}
}

func create(t testing.TB, n started, name string) *datanode.Shard {
	t.Helper()
	sh, _, err := n.Create(t.Context(), name, datanode.Settings{})
	require.NoError(t, err)
	return sh
}

func put(id, source string) datanode.Op {
	return datanode.Op{Kind: datanode.Index, ID: id, Source: json.RawMessage(source)}
}

func write(t testing.TB, sh *datanode.Shard, ops ...datanode.Op) datanode.Written {
	t.Helper()
	w, err := sh.Bulk(t.Context(), ops)
	require.NoError(t, err)
	return w
}

func outcomes(w datanode.Written) (all []string) {
	for _, i := range w.Items {
		all = append(all, i.Outcome.String())
	}
	return all
}

// ids are those that a query finds, in order, after a refresh.
func ids(t testing.TB, sh *datanode.Shard, q datanode.Query) []string {
	t.Helper()
	_, err := sh.Refresh(t.Context())
	require.NoError(t, err)
	if q.Size == 0 {
		q.Size = 1000
	}
	found, err := sh.Search(t.Context(), q)
	require.NoError(t, err)
	all := []string{}
	for _, h := range found.Hits {
		all = append(all, h.ID)
	}
	return all
}

func eventually(t testing.TB, met func() bool, why string) {
	t.Helper()
	require.Eventually(t, met, wait, 2*time.Millisecond, why)
}

// queue is a task queue in memory whose offline nodes are run by the test: the double of what client, Kafka, Redis and
// a fleet are together. It loses events when it is told to.
type queue struct {
	mu        sync.Mutex
	tasks     map[string]*queued
	listeners map[int]func(context.Context, task.Event) error
	next      int
	fleet     datanode.Fleet
	err       error // of every call
	cancelErr error // of Cancel
	submitErr error // of Submit, which accepts all the same
	lose      bool  // events
	submitted chan string
}

type queued struct {
	params []byte
	state  datanode.TaskState
	run    int // how often it was submitted
}

func newQueue() *queue {
	return &queue{
		tasks: map[string]*queued{}, listeners: map[int]func(context.Context, task.Event) error{},
		fleet: datanode.Fleet{Nodes: 1, Slots: 4}, submitted: make(chan string, 1000),
	}
}

func (q *queue) Submit(_ context.Context, id, _ string, params any) error {
	raw, err := task.Encode(params)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err = errors.Join(err, q.err); err != nil {
		return err
	}
	if t := q.tasks[id]; t != nil {
		if !t.state.Status.Terminal() {
			return nil
		}
		t.run++
		t.state = datanode.TaskState{Status: task.Unassigned}
	} else {
		q.tasks[id] = &queued{params: raw, state: datanode.TaskState{Status: task.Unassigned, Explanation: "waits for a node"}}
	}
	q.submitted <- id
	return q.submitErr
}

func (q *queue) State(_ context.Context, id string) (*datanode.TaskState, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil || q.tasks[id] == nil {
		return nil, q.err
	}
	state := q.tasks[id].state
	return &state, nil
}

func (q *queue) Cancel(ctx context.Context, id string) error {
	q.mu.Lock()
	err, t := errors.Join(q.err, q.cancelErr), q.tasks[id]
	runs := t != nil && t.state.Status == task.Active
	q.mu.Unlock()
	if err != nil || t == nil || runs { // one that runs is told, and ends later
		return err
	}
	q.end(ctx, id, task.Cancelled, "task cancelled on request")
	return nil
}

func (q *queue) Fleet(context.Context, string) (datanode.Fleet, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.fleet, q.err
}

func (q *queue) Listen(ctx context.Context, handle func(context.Context, task.Event) error) error {
	q.mu.Lock()
	n := q.next
	q.next++
	q.listeners[n] = handle
	q.mu.Unlock()
	<-ctx.Done()
	q.mu.Lock()
	delete(q.listeners, n)
	q.mu.Unlock()
	return nil
}

func (q *queue) set(change func(*queue)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change(q)
}

// end makes a task end, unless it has.
func (q *queue) end(ctx context.Context, id string, status task.Status, why string) {
	q.mu.Lock()
	t := q.tasks[id]
	if t == nil || t.state.Status.Terminal() {
		q.mu.Unlock()
		return
	}
	t.state.Status, t.state.Error, t.state.Node = status, why, "offline-1"
	var handlers []func(context.Context, task.Event) error
	if !q.lose {
		for _, h := range q.listeners {
			handlers = append(handlers, h)
		}
	}
	q.mu.Unlock()
	for _, h := range handlers {
		_ = h(ctx, task.Event{TaskID: id, Type: merge.Type, Status: status, Node: "offline-1", Error: why})
	}
}

// worker is an offline node: it runs the merge worker of package merge on tasks of the queue.
type worker struct {
	queue  *queue
	merger *task.Definition
}

func newWorker(t testing.TB, q *queue, store remotestore.Store) *worker {
	t.Helper()
	mux := task.NewMux()
	require.NoError(t, merge.Register(mux, merge.Config{Store: store, Scratch: filepath.Join(t.TempDir(), "offline")}))
	return &worker{queue: q, merger: mux.Lookup(merge.Type)}
}

// run runs one task as an offline node would.
func (w *worker) run(t testing.TB, id string) {
	t.Helper()
	w.queue.mu.Lock()
	queued := w.queue.tasks[id]
	if queued == nil || queued.state.Status.Terminal() {
		w.queue.mu.Unlock()
		return
	}
	queued.state.Status, queued.state.Node, queued.state.Attempt = task.Active, "offline-1", 1
	x := task.NewExecution(task.Envelope{ID: id, Type: merge.Type, Attempt: 1}, queued.params, time.Now().UnixMilli(), nil, nil)
	w.queue.mu.Unlock()
	status, why := task.Success, ""
	if err := w.merger.Do(t.Context(), x); err != nil {
		status, why = task.Failed, err.Error()
	}
	w.queue.end(t.Context(), id, status, why)
}

// serve runs every task until the test ends.
func (w *worker) serve(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case id := <-w.queue.submitted:
				w.run(t, id)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func title(i int) string { return fmt.Sprintf(`{"title":"moon number %d","n":%d}`, i, i) }
