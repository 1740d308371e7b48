package life

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/garbage"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// fleet is the task queue and the offline nodes, in memory. Parents and children run for real, one run at a time or, when
// a run is disturbed, one within the other.
type fleet struct {
	w *world

	mu         sync.Mutex // the data node asks from its own goroutines
	jobs       map[string]*job
	order      []*job
	listeners  map[int]func(context.Context, task.Event) error
	next       int
	allocation int64
	runs       int
}

// job is a task with what a node and Redis keep of it.
type job struct {
	task.Submission

	state       task.ChildState
	allocation  int64
	attempt     int
	interrupted int
	checkpoint  []byte
	children    []string // that it waits for; none: it does not
	running     int
	since       time.Time // by the store's clock
	judged      bool
}

func newFleet(w *world) *fleet {
	return &fleet{w: w, jobs: map[string]*job{}, listeners: map[int]func(context.Context, task.Event) error{}}
}

func (f *fleet) mux(fate *fate, dir string) (*task.Mux, error) {
	mux, store := task.NewMux(), fated{local{f.w.store}, fate}
	return mux, errors.Join(
		merge.Register(mux, merge.Config{Store: store, Scratch: dir, Node: "node-1"}),
		snapshot.Register(mux, snapshot.Config{Store: store, Repository: fated{f.w.repository, fate}, Scratch: dir, Node: "node-1"}),
		reindex.Register(mux, reindex.Config{Store: store, Scratch: dir, Node: "node-1", BatchBytes: 400, Segments: 6, Rest: 3}),
		remotegc.Register(mux, garbage.Config(fated{f.w.store, fate}, nil)),
	)
}

// add takes a task in, and tells whether it is new. One that has ended runs once more.
func (f *fleet) add(s task.Submission) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.jobs[s.ID]; known != nil && !known.state.Status.Terminal() {
		return false
	}
	j := &job{Submission: s, attempt: 1, since: f.w.store.now(), state: task.ChildState{
		ID: s.ID, Type: s.Type, Status: task.Unassigned, ParamsHash: task.Hash(s.Params), Replay: s.Replay,
	}}
	f.jobs[s.ID], f.order = j, append(f.order, j)
	return true
}

// ready are the tasks that can run now.
func (f *fleet) ready() (ready []*job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.order {
		if !j.state.Status.Terminal() && j.running == 0 && !f.waits(j) {
			ready = append(ready, j)
		}
	}
	return ready
}

func (f *fleet) waits(j *job) bool {
	open := false
	for _, id := range j.children {
		switch s := f.jobs[id].state.Status; {
		case s == task.Failed || s == task.Cancelled:
			return false
		case !s.Terminal():
			open = true
		}
	}
	return open
}

// run runs a task once, as a node does: what it makes of the end counts unless another node has it by then.
func (f *fleet) run(j *job, fate *fate) {
	f.mu.Lock()
	f.runs++
	f.allocation++
	dir := filepath.Join(f.w.dir, fmt.Sprint("run-", f.runs))
	allocation := f.allocation
	j.allocation = allocation
	j.running++
	envelope := j.Envelope
	envelope.Attempt = j.attempt
	x := task.NewExecution(envelope, j.Params, allocation, j.checkpoint, nil)
	f.mu.Unlock()
	x.SetFamily(family{f, j, allocation})

	mux, err := f.mux(fate, dir)
	require.NoError(f.w.t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	fate.cancel = cancel
	d := mux.Lookup(j.Type)
	err = d.Do(ctx, x)
	f.end(j, d, x, fate, allocation, err, context.Cause(ctx))
	require.NoError(f.w.t, os.RemoveAll(dir))
}

func (f *fleet) end(j *job, d *task.Definition, x *task.Execution, fate *fate, allocation int64, err, cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j.running--
	if j.allocation != allocation || j.state.Status.Terminal() {
		return
	}
	if !fate.dead || fate.effect { // the last beat has brought it, or not
		j.checkpoint = x.Report().Checkpoint
	}
	if fate.dead {
		return
	}
	limit := d.Retry.MaxAttempts
	v := task.Judge(err, cause, task.Tries{Attempt: j.attempt, Max: limit, Interrupted: j.interrupted}, d.Retry, 0)
	switch {
	case v.Status.Terminal():
		f.settle(j, v.Status, x.Report().Result, err)
	case v.Waiting:
	case v.Interrupted:
		j.interrupted++
	default:
		f.w.logf("%s %s fails, attempt %d: %v", j.Type, j.ID, j.attempt, v.Err)
		j.attempt, j.interrupted = j.attempt+1, 0
	}
}

// settle ends a task, and with one that did not succeed what is below it.
func (f *fleet) settle(j *job, status task.Status, result []byte, err error) {
	j.state.Status, j.state.Result = status, result
	if err != nil {
		j.state.Error = err.Error()
	}
	f.w.logf("%s %s: %s %s%s", j.Type, j.ID, status, result, j.state.Error)
	if status != task.Success {
		for _, child := range f.order {
			if task.Parent(child.ID) == j.ID && !child.state.Status.Terminal() {
				f.settle(child, task.Cancelled, nil, nil)
			}
		}
	}
	for _, listen := range f.listeners {
		go func() {
			_ = listen(context.Background(), task.Event{TaskID: j.ID, Type: j.Type, Status: status, Result: result})
		}()
	}
}

// family gives a run access to its children.
type family struct {
	*fleet
	job        *job
	allocation int64
}

func (f family) States(_ context.Context, ids []string) ([]*task.ChildState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := make([]*task.ChildState, len(ids))
	for i, id := range ids {
		if known := f.jobs[id]; known != nil {
			state := known.state
			states[i] = &state
		}
	}
	if f.job.allocation == f.allocation {
		f.job.children = ids
	}
	return states, nil
}

func (f family) Submit(_ context.Context, children []task.Submission) error {
	f.mu.Lock()
	stale := f.job.allocation != f.allocation
	f.mu.Unlock()
	if stale {
		return task.ErrLeaseLost
	}
	for _, s := range children {
		f.add(s)
	}
	return nil
}

// The data node's side.

func (f *fleet) Submit(_ context.Context, id, typ string, params any) error {
	s, err := task.NewSubmission(typ, params, task.ID(id))
	if err == nil {
		f.add(s)
	}
	return err
}

func (f *fleet) State(_ context.Context, id string) (*datanode.TaskState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[id]
	if j == nil {
		return nil, nil
	}
	return &datanode.TaskState{Status: j.state.Status, Error: j.state.Error, Attempt: j.attempt}, nil
}

func (f *fleet) Cancel(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if j := f.jobs[id]; j != nil && !j.state.Status.Terminal() && j.running == 0 {
		f.settle(j, task.Cancelled, nil, task.ErrCancelled)
	}
	return nil
}

func (f *fleet) Fleet(context.Context, string) (datanode.Fleet, error) {
	return datanode.Fleet{Nodes: 1, Slots: 4}, nil
}

func (f *fleet) Listen(ctx context.Context, handle func(context.Context, task.Event) error) error {
	f.mu.Lock()
	n := f.next
	f.next++
	f.listeners[n] = handle
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.listeners, n)
	return nil
}

// underWay are the tasks that run now and have not ended.
func (f *fleet) underWay() (running []*job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.order {
		if j.running > 0 && !j.state.Status.Terminal() {
			running = append(running, j)
		}
	}
	return running
}
