package dataapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Tasks is the queue that snapshots and restores are submitted to; a data node has one for its merges.
type Tasks interface {
	Submit(ctx context.Context, id, typ string, params any) error
	State(ctx context.Context, id string) (*datanode.TaskState, error)
}

// Snapshots is what requests about snapshots work with. The zero value answers that there are none.
type Snapshots struct {
	Store      remotestore.Store
	Repository remotestore.Store // nil: there is none
	Tasks      Tasks             // nil: there is no queue, so none can be taken or restored
}

// keeper answers requests about snapshots.
type keeper struct {
	Snapshots

	node *datanode.Node
}

// handle adds what a keeper answers.
func (s *keeper) handle(handle func(pattern string, h func(r *http.Request) (int, any, error), parameters ...string)) {
	handle("GET /snapshots", s.list, "repository")
	handle("POST /snapshots/{name}", s.take)
	handle("GET /snapshots/{name}", s.get, "repository")
	handle("DELETE /snapshots/{name}", s.remove, "repository")
	handle("POST /snapshots/{name}/restore", s.restore)
	handle("GET /snapshots/{name}/restore/{task}", s.restoring)
}

var (
	errNoTasks = errors.New("this node has no task queue: snapshots are made by offline nodes")
	errBeing   = errors.New("the snapshot is being made")
)

// snapshotVerdict is the answer to an error about snapshots; status 0: it is none.
func snapshotVerdict(err error) (status int, kind string) {
	switch {
	case errors.Is(err, snapshot.ErrNoRepository):
		return http.StatusBadRequest, "bad_request"
	case errors.Is(err, shard.ErrNotFound):
		return http.StatusNotFound, "not_found"
	case errors.Is(err, snapshot.ErrExists), errors.Is(err, snapshot.ErrIncomplete), errors.Is(err, errBeing):
		return http.StatusConflict, "conflict"
	case errors.Is(err, shard.ErrCorrupt), errors.Is(err, shard.ErrFormat):
		return http.StatusInternalServerError, "corrupt"
	case errors.Is(err, errNoTasks):
		return http.StatusServiceUnavailable, "no_task_queue"
	}
	return 0, ""
}

// home is the store that a request is about.
func (s *keeper) home(repository bool) (remotestore.Store, error) {
	switch {
	case s.Store == nil, repository && s.Repository == nil:
		return nil, snapshot.ErrNoRepository
	case repository:
		return s.Repository, nil
	}
	return s.Store, nil
}

// snapshotAnswer is a snapshot, and while it is being made, how far it is.
type snapshotAnswer struct {
	snapshot.Document

	Complete bool       `json:"complete"`
	Error    string     `json:"error,omitempty"`
	State    *taskState `json:"state,omitempty"`

	// Parts are where the tasks of the shards stand, by shard, as far as they are known.
	Parts map[string]*taskState `json:"parts,omitempty"`
}

// taskState is where a task stands.
type taskState struct {
	Task        string      `json:"task"`
	Status      task.Status `json:"status"`
	Progress    float64     `json:"progress"`
	Note        string      `json:"note,omitempty"`
	Explanation string      `json:"explanation,omitempty"`
	Node        string      `json:"node,omitempty"`
	Attempt     int         `json:"attempt"`
	Error       string      `json:"error,omitempty"`
	BytesMoved  int64       `json:"bytes_moved"`
	StartedAt   time.Time   `json:"started_at,omitzero"`
}

// state returns where a task stands; nil when nothing is known of it.
func (s *keeper) state(ctx context.Context, id string) (*taskState, error) {
	if s.Tasks == nil {
		return nil, nil
	}
	found, err := s.Tasks.State(ctx, id)
	if err != nil || found == nil {
		return nil, err
	}
	progress := found.Fraction
	if found.Status == task.Success {
		progress = 1
	}
	return &taskState{
		Task: id, Status: found.Status, Progress: progress, Note: found.Note, Explanation: found.Explanation,
		Node: found.Node, Attempt: found.Attempt, Error: found.Error, BytesMoved: found.BytesMoved, StartedAt: found.StartedAt,
	}, nil
}

func (s *keeper) list(r *http.Request) (int, any, error) {
	home, _, err := s.at(r)
	if err != nil {
		return 0, nil, err
	}
	listed, err := snapshot.List(r.Context(), home)
	if err != nil {
		return 0, nil, err
	}
	all := make([]snapshotAnswer, 0, len(listed))
	for _, l := range listed {
		a := snapshotAnswer{Document: l.Document, Complete: l.Complete()}
		if l.Err != nil {
			a.Error = l.Err.Error()
		}
		all = append(all, a)
	}
	return http.StatusOK, map[string]any{"snapshots": all}, nil
}

// at reads ?repository.
func (s *keeper) at(r *http.Request) (home remotestore.Store, repository bool, err error) {
	if repository, err = flag(r, "repository"); err != nil {
		return nil, false, err
	}
	home, err = s.home(repository)
	return home, repository, err
}

func (s *keeper) get(r *http.Request) (int, any, error) {
	home, _, err := s.at(r)
	if err != nil {
		return 0, nil, err
	}
	d, err := find(r, home)
	if err != nil {
		return 0, nil, err
	}
	a := snapshotAnswer{Document: d, Complete: d.Complete()}
	if !a.Complete {
		if err := s.follow(r.Context(), &a); err != nil {
			return 0, nil, err
		}
	}
	return http.StatusOK, a, nil
}

// follow tells how far a snapshot is. Its task waits most of the time: the progress is that of the shards'.
func (s *keeper) follow(ctx context.Context, a *snapshotAnswer) (err error) {
	if a.State, err = s.state(ctx, a.Task); a.State == nil {
		return err
	}
	done := 0.0
	a.Parts = make(map[string]*taskState, len(a.Shards))
	for _, p := range a.Shards {
		part, err := s.state(ctx, snapshot.ChildTask(a.Task, p.Shard))
		if err != nil {
			return err
		}
		if part != nil {
			a.Parts[p.Shard] = part
			done += part.Progress
		}
	}
	a.State.Progress = max(a.State.Progress, done/float64(max(len(a.Shards), 1)))
	return nil
}

// find returns the snapshot that the path names.
func find(r *http.Request, home remotestore.Store) (snapshot.Document, error) {
	name := r.PathValue("name")
	if err := snapshot.CheckName(name); err != nil {
		return snapshot.Document{}, fmt.Errorf("%w: %w", datanode.ErrInvalid, err)
	}
	return snapshot.Get(r.Context(), home, name)
}

type takeRequest struct {
	Shards     []string `json:"shards"`
	Repository bool     `json:"repository"`
}

// take submits a snapshot of the shards that the request names, or of all that are served here.
func (s *keeper) take(r *http.Request) (int, any, error) {
	var request takeRequest
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	p := snapshot.Params{Snapshot: r.PathValue("name"), Shards: request.Shards, Repository: request.Repository}
	if len(p.Shards) == 0 {
		for _, sh := range s.node.Shards() {
			p.Shards = append(p.Shards, sh.Name())
		}
	}
	home, err := s.home(p.Repository)
	if err != nil {
		return 0, nil, err
	}
	_, err = find(r, home)
	if err == nil {
		return 0, nil, fmt.Errorf("%w: %s", snapshot.ErrExists, p.Snapshot)
	}
	if !errors.Is(err, shard.ErrNotFound) {
		return 0, nil, err
	}
	invalid := p.Validate()
	if invalid == nil {
		if err := s.allThere(r.Context(), p.Shards); err != nil {
			return 0, nil, err
		}
	}
	return s.submit(r, snapshot.NewTask(p.Snapshot), snapshot.Type, p, invalid)
}

// allThere tells whether the store has the shards: the task would fail, but keep the name.
func (s *keeper) allThere(ctx context.Context, names []string) error {
	for _, name := range names {
		sh, err := shard.Open(s.Store, name)
		if err != nil {
			return fmt.Errorf("%w: %w", datanode.ErrInvalid, err)
		}
		if _, err := sh.Newest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// submit hands a task to the queue, unless its parameters are invalid.
func (s *keeper) submit(r *http.Request, id, typ string, params any, invalid error) (int, any, error) {
	if invalid != nil {
		return 0, nil, fmt.Errorf("%w: %w", datanode.ErrInvalid, invalid)
	}
	if s.Tasks == nil {
		return 0, nil, errNoTasks
	}
	if err := s.Tasks.Submit(r.Context(), id, typ, params); err != nil {
		return 0, nil, fmt.Errorf("task %s: %w: %w", id, datanode.ErrNoQueue, err)
	}
	return http.StatusAccepted, map[string]string{"snapshot": r.PathValue("name"), "task": id}, nil
}

type restoreRequest struct {
	Shards     []snapshot.Target `json:"shards"`
	Repository bool              `json:"repository"`
	Force      bool              `json:"force"`
	Trust      bool              `json:"trust"`
}

func (s *keeper) restore(r *http.Request) (int, any, error) {
	var request restoreRequest
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	p := snapshot.RestoreParams{
		Snapshot: r.PathValue("name"), Repository: request.Repository, Shards: request.Shards, Force: request.Force, Trust: request.Trust,
	}
	home, err := s.home(p.Repository)
	if err != nil {
		return 0, nil, err
	}
	d, err := find(r, home)
	if err == nil && !d.Complete() {
		err = fmt.Errorf("%s: %w", p.Snapshot, snapshot.ErrIncomplete)
	}
	if err != nil {
		return 0, nil, err
	}
	return s.submit(r, snapshot.NewRestoreTask(p.Snapshot), snapshot.RestoreType, p, p.Validate())
}

// restoring tells how far a restore is.
func (s *keeper) restoring(r *http.Request) (int, any, error) {
	state, err := s.state(r.Context(), r.PathValue("task"))
	if err == nil && state == nil {
		err = fmt.Errorf("task %s: %w", r.PathValue("task"), shard.ErrNotFound)
	}
	return http.StatusOK, state, err
}

// remove deletes a snapshot that is not being made.
func (s *keeper) remove(r *http.Request) (int, any, error) {
	home, repository, err := s.at(r)
	if err != nil {
		return 0, nil, err
	}
	name := r.PathValue("name")
	d, err := find(r, home)
	switch {
	case errors.Is(err, shard.ErrCorrupt), errors.Is(err, shard.ErrFormat): // to be deleted all the more
	case err != nil:
		return 0, nil, err
	case !d.Complete():
		state, err := s.state(r.Context(), d.Task)
		if err != nil {
			return 0, nil, err
		}
		if state != nil && !state.Status.Terminal() {
			return 0, nil, fmt.Errorf("%w by task %s: cancel that first", errBeing, d.Task)
		}
	}
	var freed int64
	if repository {
		freed, err = snapshot.DeleteCopy(r.Context(), home, s.Store, name)
	} else {
		err = snapshot.Delete(r.Context(), home, name)
	}
	return http.StatusOK, map[string]any{"snapshot": name, "freed": freed}, err
}
